//! What runs inside the Job: reads its UpgradeTask, performs the steps, writes the status.
