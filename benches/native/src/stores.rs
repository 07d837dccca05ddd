//! Key-value and object-store workloads, each on a memory bucket of its own.

use async_nats::jetstream::kv::Store;
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use fastnats_native::args::Args;
use fastnats_native::usage::Stopwatch;
use fastnats_native::{Error, emit};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt;

use crate::jetstream::fill;
use crate::{add_percentiles, connect, in_flight, payload};

/// Reads and writes go round so many keys.
const RING: u64 = 1_000;
/// The bucket whose keys are listed and watched.
const KEYS: u64 = 50_000;

type Fields = Map<String, Value>;

pub async fn run_key_value(args: &Args) -> Result<(), Error> {
    let context = jetstream::new(connect(args, 1 << 20).await?);
    let bucket = format!("yardstick_{}", std::process::id());
    let store = create_bucket(&context, &bucket).await?;
    let result = key_value(args, &context, &bucket, store).await;
    context.delete_key_value(bucket).await?;
    emit(&Value::Object(result?));
    Ok(())
}

/// What nats-py's `create_key_value` makes by default. That of async-nats allows direct gets, and
/// reading would be another operation than in the Python workloads.
async fn create_bucket(context: &Context, bucket: &str) -> Result<Store, Error> {
    context
        .create_stream(Config {
            name: format!("KV_{bucket}"),
            subjects: vec![format!("$KV.{bucket}.>")],
            storage: StorageType::Memory,
            discard: DiscardPolicy::New,
            max_messages_per_subject: 1,
            allow_rollup: true,
            allow_message_ttl: true,
            deny_delete: true,
            ..Config::default()
        })
        .await?;
    Ok(context.get_key_value(bucket).await?)
}

async fn key_value(
    args: &Args,
    context: &Context,
    bucket: &str,
    store: Store,
) -> Result<Fields, Error> {
    let count: u64 = args.number("count", 10_000)?;
    let (inflight, value) = (args.number("inflight", 1)?, payload(args)?);
    let (subject, keys) = (format!("$KV.{bucket}.key"), count.min(KEYS));
    match args.mode.as_str() {
        "kv-put" => put(store, count, value).await,
        "kv-get" => {
            fill(context, &subject, RING, value.clone(), true).await?;
            get(store, count, inflight, value.len()).await
        }
        "kv-keys" => {
            fill(context, &subject, keys, value, true).await?;
            list(&store, count, keys).await
        }
        "kv-watch" => {
            fill(context, &subject, keys, value.clone(), true).await?;
            watch(&store, count, keys, value.len()).await
        }
        other => Err(format!("unknown mode {other:?}").into()),
    }
}

async fn put(store: Store, count: u64, value: Bytes) -> Result<Fields, Error> {
    for number in 0..100 {
        store.put(format!("warm.{number}"), value.clone()).await?;
    }
    let watch = Stopwatch::new();
    let mut revision = 0;
    for number in 0..count {
        revision = store.put(format!("key.{}", number % RING), value.clone()).await?;
    }
    let fields = watch.report(count);
    expect("revision", revision, count + 100)?;
    Ok(fields)
}

async fn get(store: Store, count: u64, inflight: u64, size: usize) -> Result<Fields, Error> {
    let read = move |number: u64| {
        let store = store.clone();
        async move {
            let value = store.get(format!("key.{}", number % RING)).await?;
            expect("bytes", value.ok_or("a key is missing")?.len(), size)
        }
    };
    in_flight(100, inflight, read.clone()).await?;
    let watch = Stopwatch::new();
    let micros = in_flight(count, inflight, read).await?;
    let mut fields = watch.report(count);
    add_percentiles(&mut fields, micros);
    Ok(fields)
}

async fn list(store: &Store, count: u64, keys: u64) -> Result<Fields, Error> {
    let watch = Stopwatch::new();
    for _ in 0..count / keys {
        let listed: Vec<String> = store.keys().await?.try_collect().await?;
        expect("keys", listed.len(), usize::try_from(keys)?)?;
    }
    Ok(watch.report(count / keys * keys))
}

async fn watch(store: &Store, count: u64, keys: u64, size: usize) -> Result<Fields, Error> {
    let watch = Stopwatch::new();
    for _ in 0..count / keys {
        // `watch_all` would leave out what is there already.
        let mut entries = store.watch_with_history(">").await?;
        let (mut seen, mut bytes) = (0, 0);
        loop {
            let entry = entries.next().await.ok_or("the watch ended")??;
            seen += 1;
            bytes += entry.value.len();
            if entry.delta == 0 {
                break;
            }
        }
        expect("entries", seen, keys)?;
        expect("bytes", bytes, usize::try_from(keys)? * size)?;
    }
    Ok(watch.report(count / keys * keys))
}

pub async fn run_object(args: &Args) -> Result<(), Error> {
    let context = jetstream::new(connect(args, 1 << 16).await?);
    let bucket = format!("yardstick_{}", std::process::id());
    let store = context
        .create_object_store(object_store::Config {
            bucket: bucket.clone(),
            storage: StorageType::Memory,
            ..object_store::Config::default()
        })
        .await?;
    let result = object(args, &store).await;
    context.delete_object_store(bucket).await?;
    emit(&Value::Object(result?));
    Ok(())
}

async fn object(args: &Args, store: &ObjectStore) -> Result<Fields, Error> {
    let count: u64 = args.number("count", 8)?;
    let data = payload(args)?;
    let put = async |name: String, data: &[u8]| -> Result<(), Error> {
        let stored = store.put(name.as_str(), &mut { data }).await?;
        expect("bytes", stored.size, data.len())
    };
    put("warm".to_owned(), &data[..data.len().min(1 << 20)]).await?;
    match args.mode.as_str() {
        "object-put" => {
            let watch = Stopwatch::new();
            for number in 0..count {
                put(format!("object.{number}"), &data).await?;
            }
            Ok(watch.report(count))
        }
        "object-get" => {
            put("object".to_owned(), &data).await?;
            let watch = Stopwatch::new();
            for _ in 0..count {
                let mut read = Vec::with_capacity(data.len());
                store.get("object").await?.read_to_end(&mut read).await?;
                expect("bytes", read.len(), data.len())?;
            }
            Ok(watch.report(count))
        }
        other => Err(format!("unknown mode {other:?}").into()),
    }
}

fn expect<T: PartialEq + std::fmt::Display>(what: &str, got: T, wanted: T) -> Result<(), Error> {
    if got == wanted { Ok(()) } else { Err(format!("{what}: {got} instead of {wanted}").into()) }
}
