//! What happened, said twice: one structured log line and the counters, each under the same word.
//!
//! No token and no content is ever in a line.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, ResponseError};
use log::kv::Value;
use log::{Level, Metadata, Record};
use pending_uploads_core::{FileId, PendingUpload, WorkspaceId};

use crate::error::{ApiError, Cause};

const TARGET: &str = module_path!();

/// Where something happened: the operation, and the ids in the request's path that are ids.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    operation: String,
    workspace: Option<WorkspaceId>,
    file: Option<FileId>,
}

impl Site {
    /// The site of a request that has been routed.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let path = request.match_info();
        Self {
            operation: request.match_name().unwrap_or("unknown").to_owned(),
            workspace: path.get("workspace_id").and_then(|id| id.parse().ok()),
            file: path.get("file_id").and_then(|id| id.parse().ok()),
        }
    }
}

impl Site {
    /// The site of an upload that is judged before it is routed.
    pub(crate) fn of_upload(workspace: Option<WorkspaceId>) -> Self {
        Self {
            operation: "upload".to_owned(),
            workspace,
            file: None,
        }
    }
}

/// A file was published.
pub(crate) fn staged(upload: &PendingUpload, took: Duration) {
    metrics::counter!("pending_uploads_staged_total").increment(1);
    metrics::counter!("pending_uploads_staged_bytes_total").increment(upload.size_bytes);
    about_file("staged", upload, took);
}

/// A file was handed over to its last byte.
pub(crate) fn fetched(upload: &PendingUpload, sent_bytes: u64, took: Duration) {
    metrics::counter!("pending_uploads_fetched_total").increment(1);
    metrics::counter!("pending_uploads_fetched_bytes_total").increment(sent_bytes);
    about_file("fetched", upload, took);
}

/// A file was acked for the first time.
pub(crate) fn acked(upload: &PendingUpload, took: Duration) {
    metrics::counter!("pending_uploads_acked_total").increment(1);
    metrics::counter!("pending_uploads_acked_bytes_total").increment(upload.size_bytes);
    about_file("acked", upload, took);
}

/// A request was answered with an error, or its answer broke off: `failed` when that is our doing,
/// `rejected` when it is the client's, or the file was gone.
pub(crate) fn refused(site: &Site, error: &ApiError, took: Duration) {
    let status = error.status_code();
    let cause = error.cause().map(ToString::to_string);
    let (event, level) = if status.is_server_error() && status != StatusCode::INSUFFICIENT_STORAGE {
        metrics::counter!("pending_uploads_failed_total", "operation" => site.operation.clone())
            .increment(1);
        ("failed", Level::Error)
    } else {
        metrics::counter!("pending_uploads_rejected_total", "code" => error.code()).increment(1);
        ("rejected", Level::Info)
    };
    let mut fields = site_fields(site);
    fields.push(("code", Value::from(error.code())));
    if let Some(filename) = error.filename() {
        fields.push(("filename", Value::from(filename.as_str())));
    }
    if let Some(cause) = &cause {
        fields.push(("error", Value::from(cause.as_str())));
    }
    fields.push(("duration_ms", Value::from(millis(took))));
    line(level, event, &fields);
}

/// Something failed beside a request, which is answered as if it had not.
pub(crate) fn failed_aside(operation: &'static str, site: &Site, cause: &Cause) {
    metrics::counter!("pending_uploads_failed_total", "operation" => operation).increment(1);
    let site = Site {
        operation: operation.to_owned(),
        ..site.clone()
    };
    let cause = cause.to_string();
    let mut fields = site_fields(&site);
    fields.push(("error", Value::from(cause.as_str())));
    line(Level::Error, "failed", &fields);
}

fn about_file(event: &'static str, upload: &PendingUpload, took: Duration) {
    let fields = [
        ("workspace_id", Value::from_display(&upload.workspace_id)),
        ("file_id", Value::from_display(&upload.file_id)),
        ("size_bytes", Value::from(upload.size_bytes)),
        ("filename", Value::from(upload.filename.as_str())),
        ("duration_ms", Value::from(millis(took))),
    ];
    line(Level::Info, event, &fields);
}

fn site_fields(site: &Site) -> Vec<(&'static str, Value<'_>)> {
    let mut fields = vec![("operation", Value::from(site.operation.as_str()))];
    if let Some(workspace) = &site.workspace {
        fields.push(("workspace_id", Value::from_display(workspace)));
    }
    if let Some(file) = &site.file {
        fields.push(("file_id", Value::from_display(file)));
    }
    fields
}

/// Writes a line whose fields are only known at run time, which the macros of `log` cannot.
fn line(level: Level, event: &'static str, fields: &[(&'static str, Value<'_>)]) {
    let metadata = Metadata::builder().level(level).target(TARGET).build();
    if level > log::max_level() || !log::logger().enabled(&metadata) {
        return;
    }
    log::logger().log(
        &Record::builder()
            .metadata(metadata)
            .module_path_static(Some(TARGET))
            .file_static(Some(file!()))
            .args(format_args!("{event}"))
            .key_values(&fields)
            .build(),
    );
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Counts a transfer as under way until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(&'static str);

impl InFlight {
    /// An upload is under way.
    pub(crate) fn upload() -> Self {
        Self::count("pending_uploads_uploads_in_flight")
    }

    /// A fetch is under way.
    pub(crate) fn fetch() -> Self {
        Self::count("pending_uploads_fetches_in_flight")
    }

    fn count(gauge: &'static str) -> Self {
        metrics::gauge!(gauge).increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!(self.0).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };
    use pending_uploads_core::QuotaRefusal;

    use super::*;

    /// Keeps the value of each metric by its name and labels.
    #[derive(Default)]
    struct Kept(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Kept {
        fn cell(&self, key: &Key) -> Arc<AtomicU64> {
            let labels = key
                .labels()
                .map(|label| format!(" {}={}", label.key(), label.value()));
            let name = format!("{}{}", key.name(), labels.collect::<String>());
            Arc::clone(self.0.lock().unwrap().entry(name).or_default())
        }

        fn counters(&self) -> Vec<(String, u64)> {
            let cells = self.0.lock().unwrap();
            let values = cells.iter();
            values
                .map(|(name, cell)| (name.clone(), cell.load(Ordering::Relaxed)))
                .collect()
        }

        fn gauge(&self, name: &str) -> String {
            let bits = self.0.lock().unwrap()[name].load(Ordering::Relaxed);
            f64::from_bits(bits).to_string()
        }
    }

    impl Recorder for Kept {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.cell(key))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.cell(key))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn a_transfer_is_in_flight_until_it_is_dropped() {
        let kept = Kept::default();
        metrics::with_local_recorder(&kept, || {
            let (one, two) = (InFlight::fetch(), InFlight::fetch());
            let upload = InFlight::upload();
            assert_eq!(kept.gauge("pending_uploads_fetches_in_flight"), "2");
            assert_eq!(kept.gauge("pending_uploads_uploads_in_flight"), "1");
            drop((one, two, upload));
        });
        assert_eq!(kept.gauge("pending_uploads_fetches_in_flight"), "0");
        assert_eq!(kept.gauge("pending_uploads_uploads_in_flight"), "0");
    }

    #[test]
    fn our_failures_and_the_clients_faults_are_counted_apart() {
        let kept = Kept::default();
        let site = Site {
            operation: "ack".to_owned(),
            workspace: None,
            file: None,
        };
        let quota = QuotaRefusal::WaitingFiles { max: 1 };
        metrics::with_local_recorder(&kept, || {
            for error in [
                ApiError::Internal(Cause::new("x")),
                ApiError::Unavailable(Cause::new("x")),
                ApiError::DigestMismatch,
                ApiError::QuotaExceeded(quota),
            ] {
                refused(&site, &error, Duration::ZERO);
            }
        });
        assert_eq!(
            kept.counters(),
            [
                ("pending_uploads_failed_total operation=ack".to_owned(), 2),
                (
                    "pending_uploads_rejected_total code=digest_mismatch".to_owned(),
                    1
                ),
                (
                    "pending_uploads_rejected_total code=quota_exceeded".to_owned(),
                    1
                ),
            ]
        );
    }
}
