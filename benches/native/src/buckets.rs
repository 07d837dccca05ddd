//! Key-value and object stores of the peer: one operation per process, which prints its outcome.

use async_nats::jetstream::{Context, kv, object_store, stream::StorageType};
use fastnats_native::args::Args;
use fastnats_native::{Error, emit};
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

pub async fn run(args: &Args, context: Context) -> Result<(), Error> {
    let outcome = match args.mode.as_str() {
        mode if mode.starts_with("kv-") => key_value(args, &context).await,
        _ => object(args, &context).await,
    };
    emit(&outcome.unwrap_or_else(|error| json!({"error": error.to_string()})));
    Ok(())
}

async fn key_value(args: &Args, context: &Context) -> Result<Value, Error> {
    let bucket = args.required("bucket")?.to_owned();
    if args.mode == "kv-create" {
        let history = args.number("history", 1)?;
        let storage = StorageType::Memory;
        let config = kv::Config { bucket, history, storage, ..kv::Config::default() };
        context.create_key_value(config).await?;
        return Ok(json!({"created": true}));
    }
    let store = context.get_key_value(bucket).await?;
    if args.mode == "kv-keys" {
        let mut keys: Vec<_> = store.keys().await?.try_collect().await?;
        keys.sort();
        return Ok(json!({"keys": keys}));
    }
    let key = args.required("key")?;
    Ok(match args.mode.as_str() {
        "kv-put" => {
            let value = args.text("payload").unwrap_or_default().to_owned();
            json!({"revision": store.put(key, value.into()).await?})
        }
        "kv-get" => match store.entry(key).await? {
            None => Value::Null,
            Some(entry) => json!({
                "value": String::from_utf8_lossy(&entry.value),
                "revision": entry.revision,
                "operation": format!("{:?}", entry.operation),
            }),
        },
        "kv-delete" => {
            store.delete(key).await?;
            json!({"deleted": true})
        }
        "kv-purge" => {
            store.purge(key).await?;
            json!({"purged": true})
        }
        other => return Err(format!("unknown mode {other:?}").into()),
    })
}

async fn object(args: &Args, context: &Context) -> Result<Value, Error> {
    let bucket = args.required("bucket")?;
    if args.mode == "object-create" {
        let storage = StorageType::Memory;
        let bucket = bucket.to_owned();
        let config = object_store::Config { bucket, storage, ..object_store::Config::default() };
        context.create_object_store(config).await?;
        return Ok(json!({"created": true}));
    }
    let store = context.get_object_store(bucket).await?;
    if args.mode == "object-list" {
        let objects: Vec<_> = store.list().await?.try_collect().await?;
        return Ok(json!({"objects": objects.iter().map(describe).collect::<Vec<_>>()}));
    }
    let name = args.required("name")?;
    Ok(match args.mode.as_str() {
        "object-put" => {
            let meta = object_store::ObjectMetadata {
                name: name.to_owned(),
                description: args.text("description").map(str::to_owned),
                chunk_size: Some(args.number("chunk-size", 128 * 1024)?),
                ..object_store::ObjectMetadata::default()
            };
            let content = std::fs::read(args.required("file")?)?;
            describe(&store.put(meta, &mut content.as_slice()).await?)
        }
        "object-get" => {
            let mut object = store.get(name).await?;
            let mut content = Vec::new();
            object.read_to_end(&mut content).await?;
            std::fs::write(args.required("file")?, content)?;
            describe(object.info())
        }
        "object-link" => {
            describe(&store.add_link(name, &store.get(args.required("to")?).await?).await?)
        }
        "object-delete" => {
            store.delete(name).await?;
            describe(&store.info(name).await?)
        }
        "object-info" => describe(&store.info(name).await?),
        other => return Err(format!("unknown mode {other:?}").into()),
    })
}

fn describe(info: &object_store::ObjectInfo) -> Value {
    json!({
        "name": info.name,
        "description": info.description,
        "size": info.size,
        "chunks": info.chunks,
        "digest": info.digest,
        "deleted": info.deleted,
    })
}
