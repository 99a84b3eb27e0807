//! Reads a file off the runtime, with a timeout.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::read::{Content, read_with_metadata};

/// A reader of one file, each time on a thread of its own and with a timeout.
///
/// A read that the file system does not answer (a stalled mount) keeps its one thread until it does; no second read is
/// begun meanwhile. The thread is not one of the runtime's, because the runtime would wait for it when the process ends.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    limit: u64,
    under_way: Option<oneshot::Receiver<io::Result<Content>>>,
}

impl Reader {
    /// A reader of the regular file `path`, of at most `limit` octets.
    pub fn new(path: impl Into<PathBuf>, limit: u64) -> Self {
        Self { path: path.into(), limit, under_way: None }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file, within `timeout`. Cancel safe: a read under way is taken up by the next call.
    ///
    /// # Errors
    /// As [`read`](crate::read()); [`io::ErrorKind::TimedOut`] when the file system does not answer in time.
    pub async fn read(&mut self, timeout: Duration) -> io::Result<Content> {
        let answer = match &mut self.under_way {
            Some(answer) => answer,
            None => {
                let (path, limit) = (self.path.clone(), self.limit);
                self.under_way.insert(on_a_thread(move || read_with_metadata(&path, limit))?)
            }
        };
        let Ok(answer) = tokio::time::timeout(timeout, answer).await else {
            let text = format!("the file system has not answered for {} s", timeout.as_secs_f32());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        };
        self.under_way = None;
        answer.unwrap_or_else(|_| Err(io::Error::other("the thread that read it died")))
    }
}

fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (tell, answer) = oneshot::channel();
    let thread = std::thread::Builder::new().name("file-reader".to_owned());
    thread.spawn(move || {
        // The receiver is gone when the reader was dropped.
        let _ = tell.send(work());
    })?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_reader_sees_each_new_content() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("f");
        let mut reader = Reader::new(&path, 100);
        for content in ["one", "two"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(**reader.read(Duration::from_secs(30)).await.unwrap().bytes, *content.as_bytes());
        }
        std::fs::remove_file(&path).unwrap();
        let error = reader.read(Duration::from_secs(30)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_stalled_read_is_given_up_in_time_and_its_answer_taken_when_it_comes() {
        let (stall, stalled) = std::sync::mpsc::channel::<()>();
        let mut reader = Reader::new("/none", 100);
        reader.under_way = Some(
            on_a_thread(move || {
                let _ = stalled.recv();
                Err(io::Error::other("late"))
            })
            .unwrap(),
        );
        for _ in 0..2 {
            let error = reader.read(Duration::from_millis(5)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        drop(stall);
        assert_eq!(reader.read(Duration::from_secs(30)).await.unwrap_err().to_string(), "late");
        assert_eq!(reader.read(Duration::from_secs(30)).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
