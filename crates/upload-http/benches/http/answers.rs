//! Polls and fetches: what a query, a range and a condition cost to read, and a page to write.

use criterion::Criterion;
use pending_uploads_core::ActivityId;

use crate::place::{Ask, CONTENT, Place};

/// Copying the rows out of the mock is a part of it.
pub(crate) fn feeds(criterion: &mut Criterion, place: &Place) {
    let mut group = criterion.benchmark_group("activity");
    let path = |query: &str| place.path(&format!("activity?{query}"));
    let every = format!(
        "type=a2a_receive&source=canvas&limit=1&since_id={}&since_secs=3600\
         &before_ts=2099-05-04T12%3A00%3A00.123456%2B02%3A00",
        ActivityId::generate()
    );
    for (what, query) in [
        ("a page of one row", "limit=1"),
        (
            "a page of one row, by a query with everything",
            every.as_str(),
        ),
        ("a page of 100 rows", "limit=100"),
    ] {
        let ask = Ask::get(path(query));
        group.bench_function(what, |bencher| place.time(bencher, &ask, 200));
    }
    let ask = Ask::get(path("before_ts=yesterday"));
    group.bench_function("a query that is refused", |bencher| {
        place.time(bencher, &ask, 400);
    });
    group.finish();
}

pub(crate) fn contents(criterion: &mut Criterion, place: &Place) {
    let mut group = criterion.benchmark_group("content");
    let path = || place.path(&format!("pending-uploads/{}/content", place.file.file_id));
    let etag = format!("\"{}\"", place.file.sha256);
    let many = (0..20).map(|n| format!("\"{n:064x}\", "));
    let matching = many.chain([etag.clone()]).collect::<String>();
    let last = format!("bytes={}-", CONTENT.len() - 1);
    for (what, ask, status) in [
        ("whole", Ask::get(path()), 200),
        (
            "a range",
            Ask::get(path()).header("range", "bytes=2-5"),
            206,
        ),
        (
            "a range that is there if it is the same file",
            Ask::get(path())
                .header("range", last)
                .header("if-range", etag),
            206,
        ),
        (
            "a range that is not there",
            Ask::get(path()).header("range", "bytes=99-"),
            416,
        ),
        (
            "one of 21 tags",
            Ask::get(path()).header("if-none-match", matching),
            304,
        ),
    ] {
        group.bench_function(what, |bencher| place.time(bencher, &ask, status));
    }
    group.finish();
}
