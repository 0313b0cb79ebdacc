//! Pages: a list is read in parts, each naming where the next one begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Refusal;

/// One part of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The entries, in order.
    pub items: Vec<T>,
    /// What to send as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// At most so many entries; [`PageRequest::LIMIT_MAX`] bounds it.
    pub limit: Option<u32>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
}

impl PageRequest {
    /// The most entries of one page.
    pub const LIMIT_MAX: u32 = 1_000;
    /// How many entries a page has when nobody asks for another number.
    const LIMIT_DEFAULT: u32 = 100;

    /// How many entries the page has at most.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(Self::LIMIT_DEFAULT).clamp(1, Self::LIMIT_MAX)
    }

    /// The key of the last entry of the page before.
    pub fn after(&self) -> Result<Option<String>, Refusal> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        bytes.map(Some).ok_or_else(|| Refusal::Invalid("`cursor` is not the `next` of a page".to_owned()))
    }
}

impl<T> Page<T> {
    /// A page of what was read with [`PageRequest::limit`]: full pages have a next one, which begins after `key` of
    /// the last entry.
    pub fn of(items: Vec<T>, limit: u32, key: impl Fn(&T) -> String) -> Self {
        let full = u32::try_from(items.len()).is_ok_and(|count| count >= limit);
        let next = items.last().filter(|_| full).map(|last| URL_SAFE_NO_PAD.encode(key(last)));
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_begins_after_the_last_entry() {
        let page = Page::of(vec!["a", "b"], 2, |item| (*item).to_owned());
        let request = PageRequest { limit: Some(2), cursor: page.next };
        assert_eq!(request.after().unwrap().as_deref(), Some("b"));
        assert!(Page::of(vec!["a"], 2, |item| (*item).to_owned()).next.is_none());
    }

    #[test]
    fn a_cursor_of_somebodys_own_making_is_refused() {
        let request = PageRequest { limit: None, cursor: Some("' or 1=1 --".to_owned()) };
        assert!(request.after().is_err());
    }
}
