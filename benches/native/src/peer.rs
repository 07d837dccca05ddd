//! An async-nats peer for interoperability tests: one mode per process, JSON lines on stdout.
//! A mode that waits for messages prints `{"ready":true}` once the server knows its subscriptions.
//!
//! ```text
//! peer echo    --url U --subject S [--queue Q]
//! peer sub     --url U --subject S [--queue Q] [--count N]
//! peer queue   --url U --subject S --queue Q --members N [--count N] [--idle SECONDS]
//! peer headers --url U --subject S [--reply R] [--header NAME=VALUE ...] [--payload TEXT]
//! peer request --url U --subject S [--header NAME=VALUE ...] [--payload TEXT] [--timeout SECONDS]
//!
//! peer kv-create     --url U --bucket B [--history N]
//! peer kv-put        --url U --bucket B --key K [--payload TEXT]
//! peer kv-get, kv-delete, kv-purge --url U --bucket B --key K
//! peer kv-keys       --url U --bucket B
//! peer object-create, object-list  --url U --bucket B
//! peer object-put    --url U --bucket B --name N --file PATH [--description TEXT] [--chunk-size BYTES]
//! peer object-get    --url U --bucket B --name N --file PATH
//! peer object-link   --url U --bucket B --name N --to NAME
//! peer object-info, object-delete  --url U --bucket B --name N
//! ```

mod buckets;

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, RequestErrorKind, Subscriber};
use bytes::Bytes;
use fastnats_native::args::Args;
use fastnats_native::{Error, emit};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args = Args::from_env()?;
    let client = async_nats::connect(args.required("url")?).await?;
    match args.mode.as_str() {
        "echo" => echo(&args, client).await,
        "sub" => sub(&args, client).await,
        "queue" => queue(&args, client).await,
        "headers" => publish(&args, client).await,
        "request" => request(&args, client).await,
        mode if mode.starts_with("kv-") || mode.starts_with("object-") => {
            buckets::run(&args, async_nats::jetstream::new(client)).await
        }
        other => Err(format!("unknown mode {other:?}").into()),
    }
}

async fn subscribe(args: &Args, client: &Client) -> Result<Subscriber, Error> {
    let subject = args.required("subject")?.to_owned();
    Ok(match args.text("queue") {
        None => client.subscribe(subject).await?,
        Some(queue) => client.queue_subscribe(subject, queue.to_owned()).await?,
    })
}

/// async-nats' flush is not a server round trip, so a message to ourselves stands in for one:
/// when it is back, the server has processed everything sent before it.
async fn round_trip(client: &Client) -> Result<(), Error> {
    let inbox = client.new_inbox();
    let mut marker = client.subscribe(inbox.clone()).await?;
    client.publish(inbox, Bytes::new()).await?;
    client.flush().await?;
    marker.next().await.ok_or("the connection was closed")?;
    Ok(())
}

/// `None` without any `--header`, so that the message is a plain PUB.
fn headers(args: &Args) -> Result<Option<HeaderMap>, Error> {
    let mut headers = HeaderMap::new();
    for pair in args.all("header") {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("--header takes NAME=VALUE, got {pair:?}"))?;
        headers.append(name, value);
    }
    Ok((!headers.is_empty()).then_some(headers))
}

fn payload(args: &Args) -> Bytes {
    Bytes::from(args.text("payload").unwrap_or_default().to_owned())
}

fn describe(message: &Message) -> Value {
    let headers = message.headers.as_ref().map(|headers| {
        let pairs = headers.iter().map(|(name, values)| {
            let values: Vec<_> = values.iter().map(|value| json!(value.as_str())).collect();
            (name.to_string(), Value::Array(values))
        });
        Value::Object(pairs.collect())
    });
    json!({
        "subject": message.subject.as_str(),
        "reply": message.reply.as_ref().map(|reply| reply.as_str()),
        "status": message.status.map(|status| status.as_u16()),
        "description": message.description,
        "headers": headers,
        "payload": String::from_utf8_lossy(&message.payload),
        "size": message.payload.len(),
    })
}

async fn echo(args: &Args, client: Client) -> Result<(), Error> {
    let mut requests = subscribe(args, &client).await?;
    round_trip(&client).await?;
    emit(&json!({"ready": true}));
    while let Some(message) = requests.next().await {
        let Some(reply) = message.reply else { continue };
        match message.headers {
            None => client.publish(reply, message.payload).await?,
            Some(headers) => {
                client.publish_with_headers(reply, headers, message.payload).await?;
            }
        }
    }
    Ok(())
}

/// Without `--count` it runs until it is killed.
async fn sub(args: &Args, client: Client) -> Result<(), Error> {
    let count: usize = args.number("count", usize::MAX)?;
    let messages = subscribe(args, &client).await?;
    round_trip(&client).await?;
    emit(&json!({"ready": true}));
    let mut messages = messages.take(count);
    while let Some(message) = messages.next().await {
        emit(&describe(&message));
    }
    Ok(())
}

/// Ends after `--count` messages over all members, or when none came for `--idle` seconds after
/// the first one: members elsewhere may take an unknown share.
async fn queue(args: &Args, client: Client) -> Result<(), Error> {
    let members: usize = args.number("members", 2)?;
    let count: u64 = args.number("count", u64::MAX)?;
    let idle = Duration::from_secs_f64(args.number("idle", 2.0)?);
    args.required("queue")?;

    let (sender, mut received) = mpsc::unbounded_channel();
    for member in 0..members {
        let mut messages = subscribe(args, &client).await?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while messages.next().await.is_some() {
                if sender.send(member).is_err() {
                    break;
                }
            }
        });
    }
    round_trip(&client).await?;
    emit(&json!({"ready": true}));

    let mut counts = vec![0_u64; members];
    let mut total = 0;
    while total < count {
        let member = if total == 0 {
            received.recv().await
        } else {
            tokio::time::timeout(idle, received.recv()).await.unwrap_or(None)
        };
        let Some(member) = member else { break };
        counts[member] += 1;
        total += 1;
    }
    emit(&json!({"counts": counts, "total": total}));
    Ok(())
}

async fn publish(args: &Args, client: Client) -> Result<(), Error> {
    let subject = args.required("subject")?.to_owned();
    let reply = args.text("reply").map(str::to_owned);
    let payload = payload(args);
    match (reply, headers(args)?) {
        (None, None) => client.publish(subject, payload).await?,
        (None, Some(headers)) => {
            client.publish_with_headers(subject, headers, payload).await?;
        }
        (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await?,
        (Some(reply), Some(headers)) => {
            client.publish_with_reply_and_headers(subject, reply, headers, payload).await?;
        }
    }
    round_trip(&client).await?;
    emit(&json!({"published": true}));
    Ok(())
}

async fn request(args: &Args, client: Client) -> Result<(), Error> {
    let subject = args.required("subject")?.to_owned();
    let timeout = Duration::from_secs_f64(args.number("timeout", 5.0)?);
    let mut request = async_nats::Request::new().payload(payload(args)).timeout(Some(timeout));
    if let Some(headers) = headers(args)? {
        request = request.headers(headers);
    }
    match client.send_request(subject, request).await {
        Ok(message) => emit(&describe(&message)),
        Err(error) => emit(&match error.kind() {
            RequestErrorKind::NoResponders => json!({"error": "no responders"}),
            RequestErrorKind::TimedOut => json!({"error": "timed out"}),
            _ => json!({"error": error.to_string()}),
        }),
    }
    Ok(())
}
