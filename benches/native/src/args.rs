//! `mode --name value --flag`: enough command line for two internal tools.

use std::str::FromStr;

use crate::Error;

pub struct Args {
    pub mode: String,
    options: Vec<(String, Option<String>)>,
}

impl Args {
    pub fn from_env() -> Result<Self, Error> {
        Self::parse(std::env::args().skip(1))
    }

    fn parse(words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut words = words.peekable();
        let mode = words.next().ok_or("the first argument is the mode")?;
        let mut options = Vec::new();
        while let Some(word) = words.next() {
            let name = word
                .strip_prefix("--")
                .ok_or_else(|| format!("expected an --option, got {word:?}"))?;
            let value = words.next_if(|next| !next.starts_with("--"));
            options.push((name.to_owned(), value));
        }
        Ok(Self { mode, options })
    }

    pub fn flag(&self, name: &str) -> bool {
        self.options.iter().any(|(key, _)| key == name)
    }

    /// Every value of a repeatable option, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options
            .iter()
            .filter(move |(key, _)| key == name)
            .filter_map(|(_, value)| value.as_deref())
    }

    pub fn text<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).last()
    }

    pub fn required<'a>(&'a self, name: &'a str) -> Result<&'a str, Error> {
        self.text(name).ok_or_else(|| format!("--{name} is required").into())
    }

    pub fn number<T: FromStr>(&self, name: &str, default: T) -> Result<T, Error> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => {
                text.parse().map_err(|_| format!("--{name}: not a number: {text:?}").into())
            }
        }
    }
}
