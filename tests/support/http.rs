//! A hub of one thread, for tests of downloading: fixed answers, byte ranges, broken connections.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a path answers.
#[derive(Clone)]
pub struct Page {
    pub body: Vec<u8>,
    /// Close the connection after this many bytes of the body, the first time it is asked for.
    pub break_after: Option<usize>,
}

impl From<&[u8]> for Page {
    fn from(body: &[u8]) -> Page {
        Page { body: body.to_vec(), break_after: None }
    }
}

/// A running server; its thread ends with the test process.
pub struct Server {
    /// `http://127.0.0.1:PORT`
    pub address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(pages: impl IntoIterator<Item = (String, Page)>) -> Server {
        let mut pages: HashMap<String, Page> = pages.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free local port");
        let address = format!("http://{}", listener.local_addr().expect("a bound socket"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is what these tests are about.
                let _ = answer(stream, &mut pages, &log);
            }
        });
        Server { address, requests }
    }

    /// What was asked so far: `PATH`, or `PATH from START` for a byte range.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no test panics while it holds this").clone()
    }
}

fn answer(
    stream: TcpStream,
    pages: &mut HashMap<String, Page>,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let path = lines.next().transpose()?.unwrap_or_default();
    let path = path.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut start = None;
    for line in lines {
        let line = line?.to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            start = range.trim_end_matches('-').parse::<usize>().ok();
        }
    }
    let asked = start.map_or(path.clone(), |start| format!("{path} from {start}"));
    log.lock().expect("no test panics while it holds this").push(asked);

    let mut stream = stream;
    let Some(page) = pages.get_mut(&path) else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let from = start.unwrap_or(0);
    let total = page.body.len();
    if from >= total {
        return write!(
            stream,
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let status = if start.is_some() { "206 Partial Content" } else { "200 OK" };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", total - from)?;
    if start.is_some() {
        write!(stream, "Content-Range: bytes {from}-{}/{total}\r\n", total - 1)?;
    }
    write!(stream, "\r\n")?;
    let until = page.break_after.take().map_or(total, |after| (from + after).min(total));
    stream.write_all(&page.body[from..until])
}
