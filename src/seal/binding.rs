//! What a sealed credential belongs to: the associated data of its envelope.

use crate::domain::{ClusterId, HubId};

/// The row that an envelope belongs to. An envelope opens only under the binding that it was sealed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The hub whose store holds the row.
    pub hub: HubId,
    /// The cluster that the credential is for.
    pub cluster: ClusterId,
    /// The sealed column, for example `credential`.
    pub field: &'a str,
    /// Rises with every new sealing of this field, so that an older row put back is noticed.
    pub version: u64,
    /// Where the credential may be sent.
    pub server_url: &'a str,
    /// SHA-256 of the CA bundle (PEM, as stored) that proves the server.
    pub ca_sha256: [u8; 32],
}

impl Binding<'_> {
    /// Length-prefixed, so that no two bindings encode alike; `part` tells the data key from the ciphertext.
    pub(super) fn associated_data(&self, part: &str) -> Vec<u8> {
        // Destructured in full: a field forgotten here would not be bound.
        let Self { hub, cluster, field, version, server_url, ca_sha256 } = self;
        let (hub, cluster) = (hub.to_string(), cluster.to_string());
        let fields: [&[u8]; 8] = [
            b"fleetlift envelope 1",
            part.as_bytes(),
            hub.as_bytes(),
            cluster.as_bytes(),
            field.as_bytes(),
            &version.to_be_bytes(),
            server_url.as_bytes(),
            ca_sha256,
        ];
        let mut data = Vec::with_capacity(256);
        for field in fields {
            data.extend_from_slice(&(field.len() as u64).to_be_bytes());
            data.extend_from_slice(field);
        }
        data
    }
}
