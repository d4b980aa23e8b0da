//! Whole forms, cut into pieces of every size.

use std::time::Duration;

use actix_web::test::TestRequest;
use futures_util::stream;
use proptest::prelude::*;

use super::*;

const LIMITS: BodyLimits = BodyLimits {
    max_bytes: 1024 * 1024,
    idle_timeout: Duration::from_mins(1),
};

/// A file that was read from a form: its name, its media type, its bytes.
type ReadFile = (String, String, Vec<u8>);

fn request(content_type: &str) -> HttpRequest {
    TestRequest::post()
        .insert_header(("content-type", content_type))
        .to_http_request()
}

/// The body in pieces of the given sizes, over and over.
fn pieces(body: &[u8], sizes: &[usize]) -> Vec<Result<Bytes, PayloadError>> {
    let mut rest = Bytes::copy_from_slice(body);
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        pieces.push(Ok(rest.split_to(rest.len().min(*size))));
    }
    pieces
}

async fn read_all(mut form: Form) -> Result<Vec<ReadFile>, BodyError> {
    let mut files = Vec::new();
    while let Some(mut file) = form.next().await? {
        let mut data = Vec::new();
        while let Some(view) = file.next().await? {
            data.extend_from_slice(&view);
        }
        files.push((
            file.filename.original().to_owned(),
            file.mimetype.to_string(),
            data,
        ));
    }
    Ok(files)
}

fn form(content_type: &str, body: &[u8], sizes: &[usize]) -> Result<Form, BodyError> {
    let payload = stream::iter(pieces(body, sizes));
    Form::open(&request(content_type), payload, LIMITS)
}

async fn read_as(
    content_type: &str,
    body: &[u8],
    sizes: &[usize],
) -> Result<Vec<ReadFile>, BodyError> {
    read_all(form(content_type, body, sizes)?).await
}

async fn read(body: &[u8], sizes: &[usize]) -> Result<Vec<ReadFile>, BodyError> {
    read_as("multipart/form-data; boundary=xyz", body, sizes).await
}

async fn read_from(
    payload: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
) -> Result<Vec<ReadFile>, BodyError> {
    let request = request("multipart/form-data; boundary=xyz");
    read_all(Form::open(&request, payload, LIMITS)?).await
}

fn part(headers: &str, data: &[u8]) -> Vec<u8> {
    [b"--xyz\r\n", headers.as_bytes(), b"\r\n", data, b"\r\n"].concat()
}

fn file_part(more_headers: &str, data: &[u8]) -> Vec<u8> {
    let disposition = "Content-Disposition: form-data; name=\"files\"; filename=\"f.txt\"\r\n";
    part(&format!("{disposition}{more_headers}"), data)
}

/// A file whose name is made of these bytes.
fn named(name: &[u8]) -> Vec<u8> {
    let start = b"--xyz\r\nContent-Disposition: form-data; name=\"files\"; filename=\"";
    [&start[..], name, b"\"\r\n\r\nx\r\n"].concat()
}

fn closed(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], b"--xyz--\r\n"].concat()
}

fn file(data: &[u8]) -> ReadFile {
    ("f.txt".to_owned(), String::new(), data.to_vec())
}

const SIZES: [&[usize]; 4] = [&[1], &[2, 3], &[7], &[1_000_000]];

#[actix_web::test]
async fn files_are_read_in_order_and_other_fields_are_skipped() {
    let body = closed(&[
        part(
            "Content-Disposition: form-data; name=\"text\"\r\n",
            b"hello",
        ),
        file_part("Content-Type: text/plain; charset=utf-8\r\n", b"one"),
        part(
            "Content-Disposition: form-data; name=\"other\"; filename=\"x\"\r\n",
            b"no",
        ),
        part("Content-Disposition: form-data; name=files\r\n", b"two"),
        file_part("Content-Type: no type\r\nContent-Length: 5\r\n", b"three"),
        file_part("", b""),
    ]);
    for sizes in SIZES {
        let files = read(&body, sizes).await.unwrap();
        let expected = [
            ("f.txt".to_owned(), "text/plain".to_owned(), b"one".to_vec()),
            (String::new(), String::new(), b"two".to_vec()),
            (
                "f.txt".to_owned(),
                "application/octet-stream".to_owned(),
                b"three".to_vec(),
            ),
            file(b""),
        ];
        assert_eq!(files, expected);
    }
}

#[actix_web::test]
async fn a_part_length_that_is_wrong_is_refused_and_one_that_is_right_passes() {
    for (header, right) in [
        ("Content-Length: 4\r\n", true),
        ("CONTENT-length:4 \r\n", true),
        ("Content-Length: 4\r\nContent-Length: 4\r\n", true),
        (
            "Transfer-Encoding: chunked\r\nContent-Transfer-Encoding: binary\r\n",
            true,
        ),
        ("Content-Length: 1\r\n", false),
        ("Content-Length: 0\r\n", false),
        ("Content-Length: 5\r\n", false),
        ("Content-Length: 400\r\n", false),
        ("Content-Length: four\r\n", false),
        ("Content-Length: -4\r\n", false),
        ("Content-Length : 4\r\n", false),
        (" Content-Length: 1\r\n", false),
        ("A: b\nContent-Length: 1\r\n", false),
        ("Content-Length: 4\r\nContent-Length: 1\r\n", false),
    ] {
        let body = closed(&[file_part(header, b"data"), file_part("", b"second")]);
        for sizes in SIZES {
            match read(&body, sizes).await {
                Ok(files) => {
                    assert!(right, "{header:?} passed");
                    assert_eq!(files, [file(b"data"), file(b"second")], "{header:?}");
                }
                Err(BodyError::Malformed(_)) => assert!(!right, "{header:?} was refused"),
                Err(error) => panic!("{header:?}: {error}"),
            }
        }
    }
}

#[actix_web::test]
async fn a_name_of_any_bytes_is_left_to_the_sanitizer() {
    for (name, original, safe) in [
        (&b"a\x01\x1b[31mb.txt"[..], "a[31mb.txt", "a___31mb.txt"),
        (b"a\x7fb\0c\x0bd", "abcd", "a_b_c_d"),
        (
            b"r\xe9sum\xe9.pdf",
            "r\u{fffd}sum\u{fffd}.pdf",
            "r_sum_.pdf",
        ),
        ("résumé\u{85}".as_bytes(), "résumé", "r_sum__"),
        (b"\xff\xfe", "\u{fffd}\u{fffd}", "__"),
        (b"dir/a\tb", "dir/ab", "a_b"),
        (b"a\\", "a\\", "a_"),
        (b"C:\\dir\\\xe9\\", "C:\\dir\\\u{fffd}\\", "C__dir___"),
    ] {
        let body = closed(&[named(name), file_part("", b"second")]);
        for sizes in SIZES {
            let mut form = form("multipart/form-data; boundary=xyz", &body, sizes).unwrap();
            let mut file = form.next().await.unwrap().unwrap();
            assert_eq!(file.filename.original(), original);
            assert_eq!(file.filename.as_str(), safe);
            while file.next().await.unwrap().is_some() {}
            drop(file);
            assert!(form.next().await.unwrap().is_some());
        }
    }
}

#[actix_web::test]
async fn a_type_of_any_bytes_is_left_to_the_safe_parser() {
    for (value, mimetype) in [
        (&b"text/html\x01"[..], "application/octet-stream"),
        (b"text/\x1bhtml", "application/octet-stream"),
        (b"text/\xe9", "application/octet-stream"),
        (b"text/html; charset=\x01", "text/html"),
        (b"multipart/related; boundary=\"a\"", "multipart/related"),
        (b"multipart/form-data; boundary=xyz", "multipart/form-data"),
        (b"", ""),
    ] {
        let disposition =
            b"--xyz\r\nContent-Disposition: form-data; name=files; filename=f.txt\r\n";
        let start = [&disposition[..], b"Content-Type: ", value].concat();
        let body = closed(&[[&start[..], b"\r\n\r\ndata\r\n"].concat()]);
        for sizes in SIZES {
            let files = read(&body, sizes).await.unwrap();
            let expected = ("f.txt".to_owned(), mimetype.to_owned(), b"data".to_vec());
            assert_eq!(files, [expected], "{value:?}");
        }
    }
}

/// The page that a browser saves with all that belongs to it.
#[actix_web::test]
async fn a_file_that_is_multipart_itself_is_a_file() {
    let page =
        b"--inner\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<p>\r\n--inner--\r\n";
    let header = "Content-Type: multipart/related; boundary=inner\r\n";
    let body = closed(&[file_part(header, page)]);
    for sizes in SIZES {
        let files = read(&body, sizes).await.unwrap();
        assert_eq!(
            (&files[0].1[..], &files[0].2[..]),
            ("multipart/related", &page[..])
        );
    }
}

#[actix_web::test]
async fn a_body_that_is_cut_short_anywhere_is_refused() {
    let body = closed(&[
        file_part("Content-Length: 3\r\n", b"one"),
        file_part("", b"two"),
    ]);
    let closing = body.len() - 2;
    for cut in 0..closing {
        for sizes in SIZES {
            let result = read(&body[..cut], sizes).await;
            assert!(
                matches!(result, Err(BodyError::Malformed(_))),
                "cut at {cut}"
            );
        }
    }
    assert!(
        read(&body[..closing], &[5]).await.is_ok(),
        "only the last CRLF is missing"
    );
}

#[actix_web::test]
async fn what_is_not_a_form_with_a_boundary_is_refused() {
    let body = closed(&[file_part("", b"data")]);
    for content_type in [
        "",
        "text/plain",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=xyz",
        "application/x-www-form-urlencoded",
    ] {
        let result = read_as(content_type, &body, &[100]).await;
        assert_eq!(result, Err(Malformed::ContentType.into()), "{content_type}");
    }
    for content_type in [
        "multipart/form-data; boundary=\"xyz\"",
        "Multipart/Form-Data;boundary=xyz",
    ] {
        let result = read_as(content_type, &body, &[100]).await;
        assert_eq!(result, Ok(vec![file(b"data")]), "{content_type}");
    }
}

#[actix_web::test]
async fn a_broken_part_is_refused_with_its_reason() {
    for (body, reason) in [
        (closed(&[part("A: b\r\n", b"x")]), Malformed::Disposition),
        (
            closed(&[part(
                "Content-Disposition: form-data; filename=\"x\"\r\n",
                b"x",
            )]),
            Malformed::Disposition,
        ),
        (
            closed(&[part(
                "Content-Disposition: attachment; name=\"files\"\r\n",
                b"x",
            )]),
            Malformed::Disposition,
        ),
        (
            closed(&[named(b"a\rContent-Length: 1")]),
            Malformed::Headers,
        ),
        (
            closed(&[named(b"a\r\nContent-Type: text/html")]),
            Malformed::Disposition,
        ),
        (closed(&[named(b"a\nX: y")]), Malformed::Disposition),
        (
            closed(&[file_part("no header\r\n", b"x")]),
            Malformed::Headers,
        ),
        (
            closed(&[file_part(&format!("A: {}\r\n", "b".repeat(20_000)), b"x")]),
            Malformed::Framing(framing::FramingError::HeadersTooLong),
        ),
        (
            [&file_part("", b"data\r\n--xyzX")[..], b"--xyz--\r\n"].concat(),
            Malformed::Boundary,
        ),
        (b"no boundary at all".to_vec(), Malformed::Truncated),
        (Vec::new(), Malformed::Truncated),
    ] {
        for sizes in SIZES {
            let result = read(&body, sizes).await;
            assert_eq!(
                result,
                Err(reason.into()),
                "{}",
                String::from_utf8_lossy(&body)
            );
        }
    }
}

/// The parser takes a bare CR for a line's end, which no standard does: it would cut these files.
#[actix_web::test]
async fn a_boundary_after_a_bare_return_never_cuts_a_file_short() {
    for data in [
        &b"data\r--xyz\r\n--xyz"[..],
        b"data\r--xyz\r\n",
        b"data\r--xyz",
        b"\r--xyz",
        b"data\r--xyz--",
    ] {
        for sizes in SIZES {
            let body = closed(&[file_part("", data), file_part("", b"second")]);
            if let Ok(files) = read(&body, sizes).await {
                assert_eq!(files, [file(data), file(b"second")], "{data:?}");
            }
        }
    }
}

#[actix_web::test]
async fn more_parts_than_anybody_needs_are_refused() {
    let field = part("Content-Disposition: form-data; name=\"a\"\r\n", b"");
    let at_most = closed(&vec![field.clone(); 1000]);
    assert_eq!(read(&at_most, &[8192]).await, Ok(Vec::new()));
    let too_many = closed(&vec![field; 1001]);
    let refused = Malformed::TooManyParts { max: 1000 };
    assert_eq!(read(&too_many, &[8192]).await, Err(refused.into()));
}

#[actix_web::test]
async fn an_epilogue_is_ignored_but_counted_and_waited_for() {
    let body = closed(&[file_part("", b"data")]);
    let ignored = [&body[..], b"whatever follows"].concat();
    assert_eq!(read(&ignored, &[9]).await, Ok(vec![file(b"data")]));
    let endless = [&body[..], &vec![b'x'; 1024 * 1024]].concat();
    let too_large = BodyError::TooLarge {
        max_bytes: LIMITS.max_bytes,
    };
    assert_eq!(read(&endless, &[9000]).await, Err(too_large));

    let cut_off = stream::iter(pieces(&body, &[9]))
        .chain(stream::iter([Err(PayloadError::Incomplete(None))]));
    assert_eq!(read_from(cut_off).await, Err(BodyError::CutOff));
}

/// Data that is full of beginnings of boundaries, but holds none.
fn tricky_data() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n--xy".to_vec()),
        Just(b"\r\n--x".to_vec()),
        Just(b"--xyz\r\n".to_vec()),
        Just(b"--xy".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"Content-Length: 1\r\n\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..12)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("holds a boundary", |data| {
            !data.windows(7).any(|bytes| bytes == b"\r\n--xyz")
                && !data.windows(6).any(|bytes| bytes == b"\r--xyz")
                && !data.starts_with(b"--xyz")
        })
}

/// RFC 2046, section 5.1.1: a body-part may be headers alone, and then the delimiter's line break is
/// the blank line behind them.
#[test]
fn a_part_without_a_body_is_empty_and_takes_nothing_of_the_next() {
    let headers = |name: &str| {
        format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\r\n"
        )
    };
    for sizes in SIZES {
        let sent = [
            &headers("a.txt")[..],
            &headers("a.txt"),
            "hello\r\n--xyz--\r\n",
        ]
        .concat();
        let found = run(read(sent.as_bytes(), sizes)).unwrap();
        let data: Vec<_> = found.iter().map(|file| &file.2[..]).collect();
        assert_eq!(data, [&b""[..], b"hello"]);
        let last = [&headers("a.txt")[..], "--xyz--\r\n"].concat();
        let found = run(read(last.as_bytes(), sizes)).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].2.is_empty());
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    actix_web::rt::Runtime::new().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_sent(
        files in prop::collection::vec(tricky_data(), 0..5),
        claims in prop::collection::vec(any::<bool>(), 5),
        sizes in prop::collection::vec(1..60_usize, 1..8),
    ) {
        let parts: Vec<_> = files
            .iter()
            .zip(claims)
            .map(|(data, claims)| {
                let claim = format!("Content-Length: {}\r\n", data.len());
                file_part(if claims { &claim } else { "" }, data)
            })
            .collect();
        let expected: Vec<_> = files.iter().map(|data| file(data)).collect();
        prop_assert_eq!(run(read(&closed(&parts), &sizes)), Ok(expected));
    }

    #[test]
    fn a_wrong_part_length_never_passes(
        data in tricky_data(),
        claim in 0..400_u64,
        sizes in prop::collection::vec(1..60_usize, 1..8),
    ) {
        prop_assume!(claim != data.len() as u64);
        let sent = closed(&[file_part(&format!("Content-Length: {claim}\r\n"), &data)]);
        let refused = Malformed::Framing(framing::FramingError::WrongLength);
        prop_assert_eq!(run(read(&sent, &sizes)), Err(refused.into()));
    }

    #[test]
    fn headers_of_any_bytes_never_cut_a_file_short(
        headers in "[!-~][ -~\\n\\r\\x00é]{0,38}[!-~]",
        data in tricky_data(),
        sizes in prop::collection::vec(1..60_usize, 1..8),
    ) {
        prop_assume!(!headers.contains("\r\n\r\n"));
        let sent = closed(&[file_part(&format!("{headers}\r\n"), &data), file_part("", b"second")]);
        if let Ok(files) = run(read(&sent, &sizes)) {
            let data_of: Vec<_> = files.iter().map(|file| &file.2[..]).collect();
            prop_assert_eq!(data_of, [&data[..], b"second"]);
        }
    }
}
