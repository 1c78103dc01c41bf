//! Chunked bodies: AWS's documented example uploads, our own signer, every way of cutting the input, and refusals.

use super::*;

const DOC_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const DOC_NOW: Millis = Millis(1_369_353_600_000); // 2013-05-24T00:00:00Z

/// The upload of S3's documentation: 66,560 times `a` in chunks of 64 KiB and 1 KiB.
fn documented(kind: Chunked, headers: &str, seed: &str, extra: &[(&'static str, &'static str)]) -> Parsed<'static> {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders={headers},\
         Signature={seed}"
    );
    let mut all = vec![
        ("host", "s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("x-amz-content-sha256", kind.as_str()),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        ("authorization", &authorization),
    ];
    all.extend_from_slice(extra);
    let head = RequestHead { method: "PUT", path: "/examplebucket/chunkObject.txt", query: "", headers: all };
    let parsed = read(&head);
    assert_eq!(parsed.payload, Payload::Chunked(kind));
    assert_eq!(verify(&parsed, &head, DOC_SECRET, None, DOC_NOW), Ok(()), "the seed signature");
    parsed.into_owned()
}

fn body(signatures: [&str; 3], tail: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (signature, size) in signatures.iter().zip([65_536, 1024, 0]) {
        out.extend(format!("{size:x};chunk-signature={signature}\r\n").bytes());
        out.extend(std::iter::repeat_n(b'a', size));
        if size > 0 {
            out.extend(b"\r\n");
        }
    }
    out.extend(tail.bytes());
    out
}

/// Data and trailers.
type Decoded<T> = Result<(T, Vec<(String, String)>), Error>;

/// Feeds a body in pieces of one size.
fn decode(mut decoder: ChunkDecoder, body: &[u8], piece: usize) -> Decoded<Vec<u8>> {
    let mut out = Vec::new();
    for piece in body.chunks(piece) {
        decoder.feed(piece, |data| out.extend_from_slice(data))?;
    }
    decoder.finish().map(|trailers| (out, trailers))
}

#[test]
fn the_documented_upload_decodes() {
    let headers = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
                   x-amz-storage-class";
    let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    let parsed = documented(Chunked::Signed, headers, seed, &[("content-length", "66824")]);
    let signatures = [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ];
    let body = body(signatures, "\r\n");
    assert_eq!(body.len(), 66_824);
    for piece in [1, 7, 4096, body.len()] {
        let decoder = chunk_decoder(&parsed, DOC_SECRET, 66_560).expect("chunked");
        let (data, trailers) = decode(decoder, &body, piece).expect("valid");
        assert!(data.len() == 66_560 && data.iter().all(|b| *b == b'a') && trailers.is_empty());
    }
    let decoder = || chunk_decoder(&parsed, DOC_SECRET, 66_560).expect("chunked");
    let mut changed = body.clone();
    changed[70_000 - 4_000] = b'b';
    assert!(matches!(decode(decoder(), &changed, 4096), Err(Error::Mismatch(_))));
    assert_eq!(decode(decoder(), &body[..body.len() - 200], 4096), Err(Error::IncompleteBody));
    assert_eq!(decode(decoder(), &[&body[..], b"x"].concat(), 4096), Err(Error::MalformedChunk));
    let decoder = chunk_decoder(&parsed, DOC_SECRET, 66_559).expect("chunked");
    assert_eq!(decode(decoder, &body, 4096), Err(Error::IncompleteBody));
    let decoder = chunk_decoder(&parsed, "wrong", 66_560).expect("chunked");
    assert!(matches!(decode(decoder, &body, 4096), Err(Error::Mismatch(_))));
}

#[test]
fn the_documented_upload_with_trailer_decodes() {
    let headers = "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
                   x-amz-storage-class;x-amz-trailer";
    let seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
    let parsed = documented(Chunked::SignedTrailer, headers, seed, &[("x-amz-trailer", "x-amz-checksum-crc32c")]);
    let signatures = [
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ];
    let trailer = "x-amz-checksum-crc32c:sOO8/Q==\r\n\
                   x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n";
    let decoder = || chunk_decoder(&parsed, DOC_SECRET, 66_560).expect("chunked");
    let (_, trailers) = decode(decoder(), &body(signatures, trailer), 1000).expect("valid");
    assert_eq!(trailers, [("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned())]);
    let forged = body(signatures, &trailer.replace("sOO8", "AAAA"));
    assert!(matches!(decode(decoder(), &forged, 1000), Err(Error::Mismatch(_))));
    assert_eq!(decode(decoder(), &body(signatures, "\r\n"), 1000), Err(Error::MalformedTrailer));
}

/// A verified chunked request of our own signer, and the signer that goes on from it.
fn own(kind: Chunked) -> (Parsed<'static>, ChunkSigner) {
    let head = RequestHead { method: "PUT", path: "/b/k", query: "", headers: vec![("host", "h")] };
    let added = sign(&head, kind.as_str(), &credentials(), &scope("s3"));
    let head = signed(&head, &added);
    let parsed = read(&head);
    assert_eq!(verify(&parsed, &head, SECRET, None, NOW), Ok(()));
    let signer = ChunkSigner::new(&credentials(), &scope("s3"), head.header("authorization").expect("signed"));
    (parsed.into_owned(), signer)
}

#[test]
fn our_own_chunks_decode() {
    for (kind, trailers) in [
        (Chunked::Signed, vec![]),
        (Chunked::SignedTrailer, vec![("x-amz-checksum-sha1".to_owned(), "abc=".to_owned())]),
    ] {
        let (parsed, mut signer) = own(kind);
        let mut body = signer.chunk(&[7; 9000]);
        body.extend(signer.chunk(b"tail"));
        body.extend(signer.chunk(b""));
        body.extend(signer.trailer(&trailers));
        let (data, found) = decode(chunk_decoder(&parsed, SECRET, 9004).expect("chunked"), &body, 333).expect("valid");
        assert_eq!((data.len(), found), (9004, trailers));
    }
}

#[test]
fn small_chunks_are_refused_but_for_the_last() {
    let (parsed, mut signer) = own(Chunked::Signed);
    let mut body = signer.chunk(&[7; 100]);
    body.extend(signer.chunk(b"tail"));
    body.extend(signer.chunk(b""));
    let error = decode(chunk_decoder(&parsed, SECRET, 104).expect("chunked"), &body, 64).expect_err("small");
    assert_eq!(error, Error::ChunkTooSmall { chunk: 1, size: 100 });
    assert_eq!(error.code_for(Family::S3), ("InvalidChunkSizeError", 403));
}

#[test]
fn unsigned_chunks_with_a_trailer_decode() {
    let (parsed, _) = own(Chunked::UnsignedTrailer);
    let decoder = |bytes| chunk_decoder(&parsed, SECRET, bytes).expect("chunked");
    let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let crc = one("x-amz-checksum-crc32", "AAAA==");
    let cases: [(&str, u64, Decoded<&str>); 14] = [
        ("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAA==\r\n\r\n", 5, Ok(("hello", crc.clone()))),
        ("5\r\nhello\r\n0\r\nX-Amz-Checksum-CRC32: AAAA== \r\n", 5, Ok(("hello", crc))),
        ("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", 5, Ok(("hello", vec![]))),
        ("0\r\n\r\n", 0, Ok(("", vec![]))),
        ("5\r\nhello\r\n", 5, Err(Error::IncompleteBody)),
        ("5\r\nhello\r\n0\r\n\r\n", 6, Err(Error::IncompleteBody)),
        ("5\r\nhello\r\n0\r\n\r\n", 4, Err(Error::IncompleteBody)),
        ("5\r\nhello0\r\n\r\n", 5, Err(Error::MalformedChunk)),
        ("5\nhello\r\n0\r\n\r\n", 5, Err(Error::MalformedChunk)),
        ("-5\r\nhello\r\n0\r\n\r\n", 5, Err(Error::MalformedChunk)),
        ("\r\n", 0, Err(Error::MalformedChunk)),
        ("fffffffffffffffff\r\n", 5, Err(Error::MalformedChunk)),
        ("ffffffffffffffff\r\n", 5, Err(Error::IncompleteBody)),
        ("0\r\nno colon\r\n\r\n", 0, Err(Error::MalformedTrailer)),
    ];
    for (body, bytes, want) in cases {
        for piece in [1, 2, 100] {
            let found = decode(decoder(bytes), body.as_bytes(), piece);
            let found = found.map(|(data, trailers)| (String::from_utf8(data).expect("text"), trailers));
            assert_eq!(found, want.clone().map(|(data, trailers)| (data.to_owned(), trailers)), "{body:?} by {piece}");
        }
    }
    assert_eq!(decode(decoder(5), &[b'0'; 5000], 100), Err(Error::MalformedChunk));
    let many = format!("0\r\n{}", "a:b\r\n".repeat(17));
    assert_eq!(decode(decoder(0), many.as_bytes(), 100), Err(Error::MalformedTrailer));
}
