//! The query of `GET /workspaces/{id}/activity`, and the `Prefer: wait` header beside it.

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName};
use pending_uploads_core::{
    ActivityId, ActivityQuery, ActivityType, FeedStart, PageSize, Source, Timestamp,
};
use url::form_urlencoded;

use crate::error::ApiError;

/// The longest that a request waits, in seconds; more is taken as that.
const MAX_WAIT_SECS: u64 = 60;
/// The longest look back of `since_secs`, in seconds: 30 days; more is taken as that.
const MAX_SINCE_SECS: u64 = 30 * 24 * 60 * 60;

/// `Prefer` (RFC 7240, section 2).
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What a request for a feed asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Which rows.
    pub(crate) query: ActivityQuery,
    /// How long to wait when there are none.
    pub(crate) wait: Wait,
}

/// How long a request is ready to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// That many seconds, said in the query.
    Query(u64),
    /// That many seconds, said in a `Prefer` header: the answer tells that it was heeded.
    Preference(u64),
}

impl Wait {
    /// The time to wait; none when that is no time.
    pub(crate) fn patience(self) -> Option<Duration> {
        match self {
            Self::No | Self::Query(0) | Self::Preference(0) => None,
            Self::Query(secs) | Self::Preference(secs) => Some(Duration::from_secs(secs)),
        }
    }
}

impl Asked {
    /// Reads the query string and the headers of a request that arrived at `now`. Parameters that
    /// are not known are skipped; of one that is repeated, the last counts. Who gives no
    /// `since_id` does not wait.
    ///
    /// # Errors
    /// [`ApiError::InvalidQuery`], and [`ApiError::CursorGone`] for a cursor that is no id at all.
    pub(crate) fn read(query: &str, headers: &HeaderMap, now: Timestamp) -> Result<Self, ApiError> {
        let mut asked = Self {
            query: ActivityQuery::from_start(FeedStart::Newest),
            wait: preferred_wait(headers).map_or(Wait::No, Wait::Preference),
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            asked.apply(&name, &value, now)?;
        }
        if asked.query.start == FeedStart::Newest {
            asked.wait = Wait::No;
        }
        Ok(asked)
    }

    fn apply(&mut self, name: &str, value: &str, now: Timestamp) -> Result<(), ApiError> {
        match name {
            "type" => self.query.activity_type = Some(activity_type(value)?),
            "source" => self.query.source = Some(source(value)?),
            "limit" => self.query.limit = limit(value)?,
            "since_id" => self.query.start = start(value)?,
            "since_secs" => self.query.created_since = Some(since(value, now)?),
            "before_ts" => self.query.created_before = Some(before(value)?),
            "wait" => self.wait = Wait::Query(wait(value)?),
            _ => {}
        }
        Ok(())
    }
}

/// A refusal of the parameter of that name.
fn refuse(parameter: &'static str, expected: &'static str) -> ApiError {
    ApiError::InvalidQuery {
        parameter,
        expected,
    }
}

fn activity_type(value: &str) -> Result<ActivityType, ApiError> {
    let expected = "1 to 64 characters of a-z, 0-9 and _";
    value.parse().map_err(|_| refuse("type", expected))
}

fn source(value: &str) -> Result<Source, ApiError> {
    match value {
        "canvas" => Ok(Source::Canvas),
        "agent" => Ok(Source::Agent),
        _ => Err(refuse("source", "canvas or agent")),
    }
}

fn limit(value: &str) -> Result<PageSize, ApiError> {
    let rows = whole_number(value).and_then(|rows| PageSize::capped(rows).ok());
    rows.ok_or_else(|| refuse("limit", "a positive integer"))
}

/// The nil UUID (RFC 9562, section 5.9) is no row's id: as a cursor it stands before the first row.
fn start(value: &str) -> Result<FeedStart, ApiError> {
    let cursor: ActivityId = value.parse().map_err(|_| ApiError::CursorGone)?;
    if cursor.as_uuid().is_nil() {
        Ok(FeedStart::Oldest)
    } else {
        Ok(FeedStart::After(cursor))
    }
}

fn since(value: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    match whole_number(value) {
        None | Some(0) => Err(refuse("since_secs", "a positive integer")),
        Some(secs) => Ok(now.saturating_sub(Duration::from_secs(secs.min(MAX_SINCE_SECS)))),
    }
}

fn before(value: &str) -> Result<Timestamp, ApiError> {
    let expected = "an RFC 3339 time, its + written as %2B";
    value.parse().map_err(|_| refuse("before_ts", expected))
}

fn wait(value: &str) -> Result<u64, ApiError> {
    let secs = whole_number(value).ok_or_else(|| refuse("wait", "a whole number of seconds"))?;
    Ok(secs.min(MAX_WAIT_SECS))
}

/// Reads decimal digits and nothing else; a number that is too large for us is the largest there
/// is, because every use of it has a cap.
fn whole_number(value: &str) -> Option<u64> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

/// The seconds of the first `wait` preference (RFC 7240, section 4.3). What cannot be read is no
/// preference: a server is free not to heed one.
fn preferred_wait(headers: &HeaderMap) -> Option<u64> {
    let lines = headers
        .get_all(PREFER)
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .find_map(|preference| {
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("wait") {
                return None;
            }
            let secs = whole_number(value.trim().trim_matches('"'))?;
            Some(secs.min(MAX_WAIT_SECS))
        })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    const CURSOR: &str = "since_id=0190f5fe-7c00-7a00-8000-0123456789ab";

    fn read(query: &str, prefer: &[&'static str]) -> Result<Asked, ApiError> {
        let mut headers = HeaderMap::new();
        for line in prefer {
            headers.append(PREFER, HeaderValue::from_static(line));
        }
        Asked::read(query, &headers, Timestamp::from_micros(10_000_000_000_000))
    }

    #[test]
    fn nothing_asks_for_the_newest_hundred_rows() {
        let asked = read("", &[]).unwrap();
        assert_eq!(asked.query, ActivityQuery::from_start(FeedStart::Newest));
        assert_eq!(asked.wait, Wait::No);
    }

    #[test]
    fn every_parameter_is_heard() {
        let query = format!(
            "type=a2a_receive&source=agent&limit=7&{CURSOR}&since_secs=60\
             &before_ts=1970-04-26T17%3A46%3A40%2B00:00&wait=5&unknown=x"
        );
        let asked = read(&query, &[]).unwrap();
        let cursor = "0190f5fe-7c00-7a00-8000-0123456789ab".parse().unwrap();
        assert_eq!(
            asked.query,
            ActivityQuery {
                activity_type: Some(ActivityType::A2A_RECEIVE),
                source: Some(Source::Agent),
                start: FeedStart::After(cursor),
                created_since: Some(Timestamp::from_micros(9_999_940_000_000)),
                created_before: Some(Timestamp::from_micros(10_000_000_000_000)),
                limit: PageSize::capped(7).unwrap(),
            }
        );
        assert_eq!(asked.wait, Wait::Query(5));
    }

    #[test]
    fn what_is_malformed_is_refused_by_name() {
        for (query, name) in [
            ("type=A2A", "type"),
            ("type=", "type"),
            ("source=nobody", "source"),
            ("source=", "source"),
            ("limit=0", "limit"),
            ("limit=-1", "limit"),
            ("limit=x", "limit"),
            ("since_secs=0", "since_secs"),
            ("since_secs=-5", "since_secs"),
            ("since_secs=1.5", "since_secs"),
            ("since_secs=", "since_secs"),
            ("before_ts=yesterday", "before_ts"),
            ("before_ts=2026-05-04", "before_ts"),
            ("before_ts=2026-05-04T12:00Z", "before_ts"),
            ("wait=-1", "wait"),
            ("wait=soon", "wait"),
            ("wait=", "wait"),
        ] {
            match read(query, &[]) {
                Err(ApiError::InvalidQuery { parameter, .. }) => assert_eq!(parameter, name),
                other => panic!("{query}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_cursor_that_is_no_id_is_an_unknown_cursor() {
        for query in ["since_id=x", "since_id="] {
            assert_eq!(read(query, &[]), Err(ApiError::CursorGone));
        }
    }

    #[test]
    fn the_nil_cursor_and_no_other_asks_for_the_oldest_rows_and_can_wait() {
        for nil in [
            "00000000-0000-0000-0000-000000000000",
            "00000000000000000000000000000000",
        ] {
            let asked = read(&format!("since_id={nil}&wait=5"), &[]).unwrap();
            assert_eq!(asked.query, ActivityQuery::from_start(FeedStart::Oldest));
            assert_eq!(asked.wait, Wait::Query(5));
        }
        for id in [
            "00000000-0000-0000-0000-000000000001",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ] {
            let asked = read(&format!("since_id={id}"), &[]).unwrap();
            let after = FeedStart::After(id.parse().unwrap());
            assert_eq!(asked.query, ActivityQuery::from_start(after));
        }
        for text in ["0", "00000000-0000-0000-0000-00000000000", "nil"] {
            let refused = read(&format!("since_id={text}"), &[]);
            assert_eq!(refused, Err(ApiError::CursorGone), "{text}");
        }
    }

    #[test]
    fn too_much_is_taken_as_the_most_there_is() {
        let huge = "99999999999999999999999";
        let asked = read(
            &format!("limit={huge}&since_secs={huge}&wait={huge}&{CURSOR}"),
            &[],
        )
        .unwrap();
        assert_eq!(asked.query.limit.get(), 500);
        assert_eq!(asked.wait, Wait::Query(60));
        let thirty_days = 30 * 24 * 60 * 60 * 1_000_000;
        let since = asked.query.created_since.unwrap();
        assert_eq!(since.as_micros(), 10_000_000_000_000 - thirty_days);
    }

    #[test]
    fn a_wait_without_a_cursor_is_no_wait() {
        assert_eq!(read("wait=5", &["wait=5"]).unwrap().wait, Wait::No);
    }

    #[test]
    fn a_preference_is_read_as_rfc_7240_writes_it() {
        for (lines, wait) in [
            (&["wait=10"][..], Wait::Preference(10)),
            (&["WAIT = \"10\" ; x=y"], Wait::Preference(10)),
            (&["respond-async, wait=10"], Wait::Preference(10)),
            (&["respond-async", "wait=10"], Wait::Preference(10)),
            (&["wait=10, wait=20"], Wait::Preference(10)),
            (&["wait=600"], Wait::Preference(60)),
            (&["wait"], Wait::No),
            (&["wait=soon"], Wait::No),
            (&["return=minimal"], Wait::No),
            (&[], Wait::No),
        ] {
            assert_eq!(read(CURSOR, lines).unwrap().wait, wait, "{lines:?}");
        }
    }

    #[test]
    fn the_query_counts_before_the_preference() {
        let asked = read(&format!("{CURSOR}&wait=0"), &["wait=10"]).unwrap();
        assert_eq!(asked.wait, Wait::Query(0));
        assert_eq!(asked.wait.patience(), None);
    }
}
