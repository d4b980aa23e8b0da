//! Conditional requests (RFC 9110, section 13) for a file, whose only validator is its digest.

use std::fmt;

use actix_web::http::Method;
use actix_web::http::header::{
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use pending_uploads_core::{ByteRange, Sha256};

use crate::error::ApiError;
use crate::range::{Requested, requested};

/// The strong entity tag of a file: its digest (RFC 9110, section 8.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ETag(pub(crate) Sha256);

/// Prints the tag with its quotes.
impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// What a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// 304: the caller has the file.
    NotModified,
    /// 200: all of it.
    Whole,
    /// 206: this part.
    Part(ByteRange),
}

/// Evaluates the preconditions of a request in the order of section 13.2.2. Files have no
/// modification date, so the conditions on one are ignored; a condition that cannot be read matches
/// nothing.
///
/// # Errors
/// [`ApiError::PreconditionFailed`], [`ApiError::RangeNotSatisfiable`].
pub(crate) fn select(
    method: &Method,
    headers: &HeaderMap,
    etag: ETag,
    size_bytes: u64,
) -> Result<Selection, ApiError> {
    let tag = etag.to_string();
    if let Some(listed) = Listed::in_header(headers, IF_MATCH)
        && !listed.strongly(&tag)
    {
        return Err(ApiError::PreconditionFailed);
    }
    if Listed::in_header(headers, IF_NONE_MATCH).is_some_and(|listed| listed.weakly(&tag)) {
        return Ok(Selection::NotModified);
    }
    match range_of(method, headers, &tag) {
        None => Ok(Selection::Whole),
        Some(value) => match requested(value, size_bytes) {
            Requested::Whole => Ok(Selection::Whole),
            Requested::Part(range) => Ok(Selection::Part(range)),
            Requested::Unsatisfiable => Err(ApiError::RangeNotSatisfiable { size_bytes }),
        },
    }
}

/// The `Range` that is to be heeded: only of a GET (section 14.2), and only if `If-Range` names this
/// very file (section 13.1.5): a weak tag or a date does not.
fn range_of<'a>(method: &Method, headers: &'a HeaderMap, tag: &str) -> Option<&'a str> {
    let range = only(headers, RANGE)?;
    let unchanged = !headers.contains_key(IF_RANGE) || only(headers, IF_RANGE) == Some(tag);
    (method == Method::GET && unchanged).then_some(range)
}

/// The value of a header that is there exactly once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut lines = headers.get_all(name);
    match (lines.next(), lines.next()) {
        (Some(line), None) => line
            .to_str()
            .ok()
            .map(|value| value.trim_matches([' ', '\t'])),
        _ => None,
    }
}

/// The entity tags that an `If-Match` or an `If-None-Match` lists.
enum Listed {
    /// `*`: any file that is there.
    Any,
    /// These, each as it was written, with its quotes and its `W/`.
    Tags(Vec<String>),
}

impl Listed {
    fn in_header(headers: &HeaderMap, name: HeaderName) -> Option<Self> {
        let lines = headers.get_all(name).map(HeaderValue::as_bytes);
        let value = lines.collect::<Vec<_>>().join(&b","[..]);
        if value.is_empty() {
            return None;
        }
        let value = String::from_utf8_lossy(&value);
        Some(match value.trim() {
            "*" => Self::Any,
            list => Self::Tags(tags(list)),
        })
    }

    /// Section 8.8.3.2: both strong, and the same.
    fn strongly(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|listed| listed == tag),
        }
    }

    /// Section 8.8.3.2: the same, be they strong or weak.
    fn weakly(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags
                .iter()
                .any(|listed| listed.strip_prefix("W/").unwrap_or(listed) == tag),
        }
    }
}

/// The tags of a list, up to the first thing that is none. A comma may stand within a tag.
fn tags(mut list: &str) -> Vec<String> {
    let mut tags = Vec::new();
    loop {
        list = list.trim_start_matches([' ', '\t', ',']);
        let opaque = list.strip_prefix("W/").unwrap_or(list);
        let Some(length) = opaque.strip_prefix('"').and_then(|rest| rest.find('"')) else {
            return tags;
        };
        let end = list.len() - opaque.len() + length + 2;
        let (tag, rest) = list.split_at(end);
        if !rest.trim_start_matches([' ', '\t']).starts_with(',') && !rest.trim().is_empty() {
            return tags;
        }
        tags.push(tag.to_owned());
        list = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAG: &str = "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"";

    fn answer(method: &Method, headers: &[(HeaderName, &str)]) -> Result<Selection, ApiError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = value.replace("TAG", TAG);
            map.append(name.clone(), HeaderValue::try_from(value).unwrap());
        }
        select(method, &map, ETag(Sha256::of(b"abc")), 10)
    }

    fn get(headers: &[(HeaderName, &str)]) -> Result<Selection, ApiError> {
        answer(&Method::GET, headers)
    }

    fn part(start: u64, end: u64) -> Selection {
        Selection::Part(ByteRange::new(start, end).unwrap())
    }

    #[test]
    fn if_none_match_compares_weakly_against_a_list() {
        for (value, answered) in [
            ("TAG", Selection::NotModified),
            ("W/TAG", Selection::NotModified),
            ("*", Selection::NotModified),
            (" * ", Selection::NotModified),
            ("\"x\", TAG", Selection::NotModified),
            ("\"a,b\" , W/\"y\" ,, TAG ", Selection::NotModified),
            ("\"x\"", Selection::Whole),
            ("w/TAG", Selection::Whole),
            (
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                Selection::Whole,
            ),
            ("\"x\" TAG", Selection::Whole),
            ("\"unclosed", Selection::Whole),
            ("*, TAG", Selection::Whole),
        ] {
            assert_eq!(get(&[(IF_NONE_MATCH, value)]), Ok(answered), "{value}");
        }
        let two_lines = [(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "TAG")];
        assert_eq!(get(&two_lines), Ok(Selection::NotModified));
    }

    #[test]
    fn if_match_compares_strongly() {
        for (value, passes) in [
            ("TAG", true),
            ("*", true),
            ("\"x\", TAG", true),
            ("W/TAG", false),
            ("\"x\"", false),
            ("nonsense", false),
        ] {
            let answered = get(&[(IF_MATCH, value)]);
            assert_eq!(answered.is_ok(), passes, "{value}");
        }
    }

    #[test]
    fn a_range_is_heeded_only_if_if_range_names_this_very_file() {
        let ranged = |value| get(&[(RANGE, "bytes=2-3"), (IF_RANGE, value)]);
        assert_eq!(get(&[(RANGE, "bytes=2-3")]), Ok(part(2, 4)));
        assert_eq!(ranged("TAG"), Ok(part(2, 4)));
        for value in [
            "W/TAG",
            "\"x\"",
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "TAG, TAG",
            "*",
        ] {
            assert_eq!(ranged(value), Ok(Selection::Whole), "{value}");
        }
    }

    #[test]
    fn a_range_behind_a_changed_if_range_is_not_even_looked_at() {
        let headers = [(RANGE, "bytes=99-"), (IF_RANGE, "\"x\"")];
        assert_eq!(get(&headers), Ok(Selection::Whole));
        assert_eq!(
            get(&headers[..1]),
            Err(ApiError::RangeNotSatisfiable { size_bytes: 10 })
        );
    }

    #[test]
    fn a_range_of_a_head_request_and_two_range_headers_are_ignored() {
        let range = (RANGE, "bytes=2-3");
        assert_eq!(
            answer(&Method::HEAD, std::slice::from_ref(&range)),
            Ok(Selection::Whole)
        );
        assert_eq!(get(&[range.clone(), range]), Ok(Selection::Whole));
    }

    #[test]
    fn if_match_goes_before_if_none_match_and_that_before_a_range() {
        let all = [
            (IF_MATCH, "\"x\""),
            (IF_NONE_MATCH, "TAG"),
            (RANGE, "bytes=99-"),
        ];
        assert_eq!(get(&all), Err(ApiError::PreconditionFailed));
        assert_eq!(get(&all[1..]), Ok(Selection::NotModified));
    }

    proptest! {
        #[test]
        fn reading_a_list_of_tags_never_panics(list in any::<String>()) {
            tags(&list);
        }

        #[test]
        fn every_tag_of_a_well_formed_list_is_found(opaque in prop::collection::vec("[!#-~]{0,8}", 0..5)) {
            let written: Vec<_> = opaque.iter().map(|tag| format!("\"{tag}\"")).collect();
            prop_assert_eq!(tags(&written.join(" , ")), written);
        }
    }
}
