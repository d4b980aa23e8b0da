//! The URIs of files in messages: which are mentioned, and what stands in their place.
//!
//! A message is looked at where A2A has its parts: in `parts` under `params.message`, under `params`,
//! or at the root. A part mentions a file in `file.uri` (A2A 0.3) or in `url` (A2A 1.0). Text is not
//! looked into.

use std::path::Path;

use pending_uploads_core::PendingUri;
use serde_json::Value;

/// Where the parts of a message may be, from the root of the request.
const PARTS: [&str; 3] = ["/params/message/parts", "/params/parts", "/parts"];
/// Where a part may mention a file, from the part.
const MENTIONS: [&str; 2] = ["/file/uri", "/url"];

/// Every file that `request` mentions, in the order of its parts; one that is mentioned twice is
/// there twice.
pub(crate) fn mentions(request: &Value) -> Vec<PendingUri> {
    PARTS
        .iter()
        .filter_map(|place| request.pointer(place)?.as_array())
        .flatten()
        .flat_map(|part| MENTIONS.iter().filter_map(|place| part.pointer(place)))
        .filter_map(mentioned)
        .collect()
}

/// Puts `workspace:<path>` in place of each mentioned file that `path_of` knows a path of. What it
/// does not know stays as it is.
pub(crate) fn rewrite<'a>(request: &mut Value, path_of: impl Fn(&PendingUri) -> Option<&'a Path>) {
    for place in PARTS {
        let parts = request.pointer_mut(place).and_then(Value::as_array_mut);
        for part in parts.into_iter().flatten() {
            rewrite_part(part, &path_of);
        }
    }
}

fn rewrite_part<'a>(part: &mut Value, path_of: &impl Fn(&PendingUri) -> Option<&'a Path>) {
    for place in MENTIONS {
        let Some(uri) = part.pointer_mut(place) else {
            continue;
        };
        if let Some(path) = mentioned(uri).as_ref().and_then(path_of) {
            *uri = Value::String(format!("workspace:{}", path.display()));
        }
    }
}

fn mentioned(uri: &Value) -> Option<PendingUri> {
    uri.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const WORKSPACE: &str = "11111111-1111-4111-8111-111111111111";
    const HERE: &str = "22222222-2222-4222-8222-222222222222";
    const LOST: &str = "33333333-3333-4333-8333-333333333333";

    fn uri(file: &str) -> String {
        format!("platform-pending:{WORKSPACE}/{file}")
    }

    fn rewritten(mut request: Value) -> Value {
        let path = PathBuf::from("/in/2-a b.txt");
        let here: PendingUri = uri(HERE).parse().unwrap();
        rewrite(&mut request, |uri| (*uri == here).then_some(path.as_path()));
        request
    }

    #[test]
    fn a_uri_is_found_in_both_shapes_of_a_part_and_at_all_three_places() {
        let old = |uri: &str| json!({"parts": [{"kind": "file", "file": {"uri": uri}}]});
        let new = |uri: &str| json!({"parts": [{"url": uri, "filename": "x"}]});
        for shape in [old, new] {
            for wrap in [
                |message: Value| message,
                |message: Value| json!({"params": message}),
                |message: Value| json!({"params": {"message": message}}),
            ] {
                let request = wrap(shape(&uri(HERE)));
                assert_eq!(mentions(&request), [uri(HERE).parse().unwrap()]);
                let expected = wrap(shape("workspace:/in/2-a b.txt"));
                assert_eq!(rewritten(request), expected);
            }
        }
    }

    #[test]
    fn a_lost_file_keeps_its_uri_and_everything_else_stays_as_it_was() {
        let request = json!({
            "jsonrpc": "2.0", "id": 1, "method": "message/send",
            "params": {"message": {"role": "user", "parts": [
                {"kind": "text", "text": uri(HERE)},
                {"kind": "file", "file": {"uri": uri(LOST), "name": "l"}},
                {"kind": "file", "file": {"uri": "https://example.com/x"}},
                {"kind": "data", "data": {"url": uri(HERE)}},
                7,
            ]}},
        });
        assert_eq!(rewritten(request.clone()), request);
        assert_eq!(mentions(&request), [uri(LOST).parse().unwrap()]);
    }

    #[test]
    fn a_message_without_parts_mentions_nothing() {
        for request in [json!(null), json!({}), json!({"parts": 1}), json!([])] {
            assert_eq!(mentions(&request), []);
            assert_eq!(rewritten(request.clone()), request);
        }
    }

    proptest! {
        #[test]
        fn after_rewriting_no_file_that_is_here_is_mentioned(files in prop::collection::vec(any::<bool>(), 0..20)) {
            let parts: Vec<_> = files
                .iter()
                .map(|here| json!({"url": uri(if *here { HERE } else { LOST })}))
                .collect();
            let left = mentions(&rewritten(json!({"parts": parts})));
            prop_assert_eq!(left.len(), files.iter().filter(|here| !**here).count());
        }
    }
}
