//! How long the values of the domain take to be read, made and printed: what each request does a
//! few times, and the digest, which every byte goes through.
//!
//! `cargo bench -p pending-uploads-core --bench values`; with `-- --test` it only shows that it
//! runs.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, Throughput};
use pending_uploads_core::{
    FileId, Filename, Mimetype, PendingUri, Sha256, Sha256Hasher, Timestamp, Token, WorkspaceId,
};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    filenames(&mut criterion);
    mimetypes(&mut criterion);
    uris(&mut criterion);
    tokens(&mut criterion);
    timestamps(&mut criterion);
    digests(&mut criterion);
    criterion.final_summary();
}

fn filenames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("filename");
    let long = "b".repeat(4_000) + ".pdf";
    let wide = "中文".repeat(2_000) + ".docx";
    for (what, original) in [
        ("as it stays", "report-2026.05.04_v2.pdf"),
        (
            "with a path and spaces",
            "../../home/a b/hello world (1).pdf",
        ),
        ("of 4,004 letters", long.as_str()),
        ("of 12,005 bytes of Chinese", wide.as_str()),
    ] {
        group.throughput(Throughput::Bytes(original.len() as u64));
        group.bench_function(what, |bench| {
            bench.iter(|| Filename::sanitize(black_box(original)));
        });
    }
    group.finish();
}

fn mimetypes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mimetype");
    let long = format!("text/{}", "x".repeat(8_000));
    for (what, value) in [
        ("as it stays", "application/pdf"),
        (
            "with parameters",
            "Text/HTML; charset=\"utf-8\"; boundary=x",
        ),
        ("that is none", "text plain\r\nx: y"),
        ("of 8,005 bytes", long.as_str()),
    ] {
        group.bench_function(what, |bench| {
            bench.iter(|| Mimetype::parse(black_box(value)));
        });
    }
    group.finish();
}

fn uris(criterion: &mut Criterion) {
    let uri = PendingUri {
        workspace_id: WorkspaceId::generate(),
        file_id: FileId::generate(),
    };
    let text = uri.to_string();
    let mut group = criterion.benchmark_group("uri");
    group.bench_function("read", |bench| {
        bench.iter(|| black_box(&text).parse::<PendingUri>());
    });
    group.bench_function("printed", |bench| {
        bench.iter(|| black_box(&uri).to_string());
    });
    group.bench_function("a fresh file's id", |bench| bench.iter(FileId::generate));
    group.finish();
}

fn tokens(criterion: &mut Criterion) {
    let token = Token::generate().unwrap();
    let (text, digest) = (token.expose().to_owned(), token.digest());
    let mut group = criterion.benchmark_group("token");
    group.bench_function("read", |bench| {
        bench.iter(|| black_box(&text).parse::<Token>());
    });
    group.bench_function("compared", |bench| {
        bench.iter(|| black_box(&digest).is_of(black_box(&token)));
    });
    group.bench_function("made", |bench| bench.iter(Token::generate));
    group.finish();
}

fn timestamps(criterion: &mut Criterion) {
    let time = Timestamp::from(SystemTime::now());
    let text = time.to_string();
    let mut group = criterion.benchmark_group("timestamp");
    group.bench_function("read", |bench| {
        bench.iter(|| black_box(&text).parse::<Timestamp>());
    });
    group.bench_function("printed", |bench| {
        bench.iter(|| black_box(&time).to_string());
    });
    group.finish();
}

/// In one piece, and in pieces as they come from a socket.
fn digests(criterion: &mut Criterion) {
    let data: Vec<u8> = (0..=250).cycle().take(1024 * 1024).collect();
    let mut group = criterion.benchmark_group("sha256");
    for (what, length) in [
        ("of 1 KB", 1_000),
        ("of 100 KB", 100_000),
        ("of 1 MiB", data.len()),
    ] {
        let data = data.get(..length).unwrap();
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(what, |bench| bench.iter(|| Sha256::of(black_box(data))));
    }
    group.bench_function("of 1 MiB in pieces of 16 KiB", |bench| {
        bench.iter(|| {
            let mut hasher = Sha256Hasher::new();
            for piece in black_box(&data).chunks(16 * 1024) {
                hasher.update(piece);
            }
            hasher.finish()
        });
    });
    group.finish();
    let digest = Sha256::of(&data);
    criterion.bench_function("sha256/printed", |bench| {
        bench.iter(|| black_box(&digest).to_string());
    });
}
