//! The `xenstore-rs` traits for [`Store`] and [`Transaction`], for code that uses them.

use super::{Store, Transaction};
use std::io;
use xenstore_rs::{Xs, XsTransaction, XsTransactionSpan};

macro_rules! impl_xs {
    ($($type:ty),*) => {$(
        impl Xs for $type {
            fn directory(&self, path: &str) -> io::Result<Vec<Box<str>>> {
                Ok(self.list(path)?.into_iter().map(String::into_boxed_str).collect())
            }

            fn read(&self, path: &str) -> io::Result<Box<str>> {
                Ok(<$type>::read(self, path)?.into_boxed_str())
            }

            fn write(&self, path: &str, data: &str) -> io::Result<()> {
                Ok(<$type>::write(self, path, data)?)
            }

            fn rm(&self, path: &str) -> io::Result<()> {
                Ok(self.remove(path)?)
            }
        }
    )*};
}

impl_xs!(Store, Transaction<'_>);

/// For the reference, because an open [`Transaction`] borrows its [`Store`].
impl Xs for &Store {
    fn directory(&self, path: &str) -> io::Result<Vec<Box<str>>> {
        Xs::directory(*self, path)
    }

    fn read(&self, path: &str) -> io::Result<Box<str>> {
        Xs::read(*self, path)
    }

    fn write(&self, path: &str, data: &str) -> io::Result<()> {
        Xs::write(*self, path, data)
    }

    fn rm(&self, path: &str) -> io::Result<()> {
        Xs::rm(*self, path)
    }
}

impl<'a> XsTransaction for &'a Store {
    type Span = Transaction<'a>;

    fn transaction(&self) -> io::Result<Self::Span> {
        Ok(self.start_transaction()?)
    }
}

impl XsTransactionSpan for Transaction<'_> {
    fn commit(self) -> io::Result<()> {
        Ok(Transaction::commit(self)?)
    }
}
