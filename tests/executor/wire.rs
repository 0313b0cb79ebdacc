//! The wire between executor and API server: it counts the requests, and loses the executor at the one that it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use tokio::sync::Notify;
use tower::{Layer, Service};

/// Where an executor is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nowhere.
    Never,
    /// With that request, counted from 0, not sent.
    Before(usize),
    /// With that request carried out, and its answer lost.
    After(usize),
}

/// What is called when a request, by method and path, was answered, before the executor hears of it.
pub type Meanwhile = Arc<dyn Fn(&str, &str) -> BoxFuture<'static, ()> + Send + Sync>;

/// One executor's wire.
#[derive(Clone)]
pub struct Wire {
    cut: Cut,
    sent: Arc<AtomicUsize>,
    lost: Arc<Notify>,
    meanwhile: Meanwhile,
}

impl Wire {
    /// A wire that is cut there.
    pub fn new(cut: Cut) -> Self {
        Self::watched(cut, Arc::new(|_, _| Box::pin(std::future::ready(()))))
    }

    /// The same, with something happening while answers are under way.
    pub fn watched(cut: Cut, meanwhile: Meanwhile) -> Self {
        Self { cut, sent: Arc::default(), lost: Arc::default(), meanwhile }
    }

    /// How many requests there were.
    pub fn requests(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// Comes when the wire is cut: whoever runs the executor drops it then.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }

    /// A client with a kubeconfig's rights at this end.
    pub async fn client(&self, kubeconfig: &str) -> kube::Client {
        let config = crate::arrange::config_of(kubeconfig).await;
        kube::client::ClientBuilder::try_from(config).unwrap().with_layer(self).build()
    }
}

impl<S> Layer<S> for Wire {
    type Service = End<S>;

    fn layer(&self, inner: S) -> End<S> {
        End { wire: self.clone(), inner }
    }
}

/// The executor's end of the wire.
pub struct End<S> {
    wire: Wire,
    inner: S,
}

impl<S, B> Service<Request<Body>> for End<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let wire = self.wire.clone();
        let number = wire.sent.fetch_add(1, Ordering::SeqCst);
        if wire.cut == Cut::Before(number) {
            wire.lost.notify_one();
            return Box::pin(std::future::pending());
        }
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            (wire.meanwhile)(&method, &path).await;
            if wire.cut == Cut::After(number) {
                wire.lost.notify_one();
                return std::future::pending().await;
            }
            answer
        })
    }
}
