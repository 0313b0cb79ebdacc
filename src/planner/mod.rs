//! Fleet × inventory × request → Plan + Report; pure.
