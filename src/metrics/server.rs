//! Answers scrapes: as much of HTTP/1.1 as a scraper needs, one connection at a time, each bounded in time and size.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use httparse::{Request, Status};

/// How long one scraper may take in all, from connecting to having read the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a request's head.
const MAX_HEAD: usize = 8 * 1024;
/// Fields in it.
const MAX_FIELDS: usize = 64;
/// A pause after what can only fail again at once, such as want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// In the Accept of scrapers that know OpenMetrics, Prometheus' own among them.
const ACCEPTS: &[u8] = b"application/openmetrics-text";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers with `page` on a thread of its own, until the process ends.
pub(super) fn start(listener: TcpListener, page: impl Fn() -> String + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("metrics".into()).spawn(move || {
        loop {
            match listener.accept() {
                // A scraper that goes away or dawdles is its own loss.
                Ok((stream, _)) => _ = answer(stream, &page),
                Err(_) => thread::sleep(PAUSE),
            }
        }
    })?;
    Ok(())
}

fn answer(mut stream: TcpStream, page: &dyn Fn() -> String) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let (status, kind, body, with_body) = match head(&mut stream, deadline)? {
        Asked::Page { with_body, open_metrics: true } => ("200 OK", OPEN_METRICS, page(), with_body),
        Asked::Page { with_body, open_metrics: false } => ("200 OK", CLASSIC, classic(&page()), with_body),
        Asked::Elsewhere => ("404 Not Found", PLAIN, "The metrics are at /metrics.\n".into(), true),
        Asked::Otherwise => ("405 Method Not Allowed\r\nAllow: GET, HEAD", PLAIN, "Only GET and HEAD.\n".into(), true),
        Asked::Nonsense => ("400 Bad Request", PLAIN, "This is no HTTP request.\n".into(), true),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(head.as_bytes())?;
    if with_body {
        let mut rest = body.as_bytes();
        while !rest.is_empty() {
            stream.set_write_timeout(Some(left(deadline)?))?;
            let written = stream.write(rest)?;
            rest = &rest[written..];
        }
    }
    stream.shutdown(Shutdown::Write)
}

/// What a scraper asks for.
#[derive(Debug, PartialEq)]
enum Asked {
    Page { with_body: bool, open_metrics: bool },
    Elsewhere,
    Otherwise,
    Nonsense,
}

/// Reads a request up to its empty line.
fn head(stream: &mut TcpStream, deadline: Instant) -> io::Result<Asked> {
    let mut bytes = [0; MAX_HEAD];
    let mut len = 0;
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let more = stream.read(&mut bytes[len..])?;
        len += more;
        match asked(&bytes[..len]) {
            Some(asked) => return Ok(asked),
            // Cut off, or longer than any scraper's.
            None if more == 0 || len == bytes.len() => return Ok(Asked::Nonsense),
            None => {}
        }
    }
}

/// What a request's head says; `None` while it is not whole.
fn asked(head: &[u8]) -> Option<Asked> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = Request::new(&mut fields);
    match request.parse(head) {
        Ok(Status::Partial) => None,
        Err(_) => Some(Asked::Nonsense),
        Ok(Status::Complete(_)) => {
            let path = request.path.unwrap_or_default();
            let accepts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("Accept"));
            let wants = |value: &[u8]| value.windows(ACCEPTS.len()).any(|part| part.eq_ignore_ascii_case(ACCEPTS));
            let open_metrics = accepts.map(|field| field.value).any(wants);
            Some(match (request.method, path.split('?').next()) {
                (Some("GET"), Some("/metrics")) => Asked::Page { with_body: true, open_metrics },
                (Some("HEAD"), Some("/metrics")) => Asked::Page { with_body: false, open_metrics },
                (Some("GET" | "HEAD"), _) => Asked::Elsewhere,
                _ => Asked::Otherwise,
            })
        }
    }
}

/// The page in Prometheus' older text format, which every scraper knows and browsers show: there a counter's description
/// has its samples' full name, and units are not told.
fn classic(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let words = help.take().map_or("", |(_, words)| words);
            text += &format!("# HELP {name}{suffix} {words}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            text += line;
            text.push('\n');
        }
    }
    text
}

/// The time that is left, more than none.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    /// As version 3 asks, but for its escaping parameters.
    const PROMETHEUS: &[u8] = b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\
        Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1\r\n\r\n";

    fn serving() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        start(listener, || "a 1\n".repeat(100_000) + "# EOF\n").unwrap();
        address
    }

    fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_scraper_gets_the_page_with_its_length_and_type() {
        let answer = ask(serving(), PROMETHEUS);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert_eq!(body.len(), 400_006);
    }

    #[test]
    fn one_that_does_not_know_open_metrics_gets_the_older_format() {
        let answer = ask(serving(), b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n");
        assert!(answer.contains("Content-Type: text/plain; version=0.0.4"), "{}", &answer[..200]);
        let page = "# HELP a_seconds What.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1\n\
                    # HELP b Else.\n# TYPE b gauge\nb{c=\"d\"} 2\n# EOF\n";
        let older = "# HELP a_seconds_total What.\n# TYPE a_seconds_total counter\na_seconds_total 1\n\
                     # HELP b Else.\n# TYPE b gauge\nb{c=\"d\"} 2\n";
        assert_eq!(classic(page), older);
    }

    #[test]
    fn other_requests_are_told_what_is_wrong() {
        let address = serving();
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("\u{16}\u{3}\u{1} hello\r\n\r\n", "400"),
        ] {
            assert!(ask(address, request.as_bytes()).starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}");
        }
        let answer = ask(address, b"HEAD /metrics HTTP/1.0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[test]
    fn a_request_is_read_piece_by_piece_and_no_longer_than_its_bound() {
        let whole = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        for len in 0..whole.len() {
            assert_eq!(asked(&whole[..len]), None, "{len}");
        }
        assert_eq!(asked(whole), Some(Asked::Page { with_body: true, open_metrics: false }));
        let long = format!("GET /metrics HTTP/1.1\r\nA: {}", "a".repeat(MAX_HEAD));
        assert!(ask(serving(), &long.as_bytes()[..MAX_HEAD]).starts_with("HTTP/1.1 400"));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: a\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(asked(many.as_bytes()), Some(Asked::Nonsense));
    }

    #[test]
    fn one_that_says_nothing_does_not_keep_others_waiting_for_ever() {
        let address = serving();
        let silent = TcpStream::connect(address).unwrap();
        assert!(ask(address, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
        drop(silent);
    }
}
