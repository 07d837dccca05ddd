//! The native yardstick: the workloads of `benches/workload*.py` on async-nats, and the feeder and
//! responder at the other end of the Python ones. Each measurement prints one line of JSON.

mod jetstream;
mod stores;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, HeaderMap, Subscriber};
use bytes::Bytes;
use fastnats_native::args::Args;
use fastnats_native::usage::Stopwatch;
use fastnats_native::{Error, emit};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};

const WARM_UP: u64 = 1_000;

fn main() -> Result<(), Error> {
    let args = Args::from_env()?;
    // One thread answers faster, two move more messages: the runner picks what suits the workload.
    let mut runtime = if args.flag("one-thread") {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    runtime.enable_all().build()?.block_on(run(&args))
}

async fn run(args: &Args) -> Result<(), Error> {
    match args.mode.as_str() {
        "publish" => publish(args).await,
        "pubsub" => pubsub(args).await,
        "receive" => receive(args).await,
        "feed" => feed(args).await,
        "request" => request(args).await,
        "respond" => respond(args).await,
        mode if mode.starts_with("js-") => jetstream::run(args).await,
        mode if mode.starts_with("kv-") => stores::run_key_value(args).await,
        mode if mode.starts_with("object-") => stores::run_object(args).await,
        other => Err(format!("unknown mode {other:?}").into()),
    }
}

/// `capacity` is the queue length of a subscription: a longer backlog is dropped, and a benchmark
/// that loses messages measures nothing.
async fn connect(args: &Args, capacity: u64) -> Result<Client, Error> {
    let client = ConnectOptions::new()
        .subscription_capacity(usize::try_from(capacity)?.max(1) + 1)
        .connect(args.required("url")?)
        .await?;
    Ok(client)
}

fn subject(args: &Args) -> String {
    args.text("subject").unwrap_or("bench.native").to_owned()
}

fn payload(args: &Args) -> Result<Bytes, Error> {
    Ok(Bytes::from(vec![b'x'; args.number("size", 128)?]))
}

/// async-nats' own flush ends when the bytes are in the socket; this ends when the server has
/// processed them, as a PING and its PONG would show.
async fn round_trip(client: &Client, marker: &mut Subscriber, inbox: &str) -> Result<(), Error> {
    client.publish(inbox.to_owned(), Bytes::new()).await?;
    client.flush().await?;
    marker.next().await.ok_or("the connection was closed")?;
    Ok(())
}

async fn publish(args: &Args) -> Result<(), Error> {
    let count: u64 = args.number("count", 1_000_000)?;
    let client = connect(args, 1).await?;
    let subject = async_nats::Subject::from(subject(args));
    let payload = payload(args)?;
    let headers = args.flag("headers").then(|| {
        let mut headers = HeaderMap::new();
        headers.insert("Trace-Id", "0123456789abcdef");
        headers.insert("Content-Type", "application/json");
        headers
    });
    let inbox = client.new_inbox();
    let mut marker = client.subscribe(inbox.clone()).await?;

    let send = async |count: u64| -> Result<(), Error> {
        for _ in 0..count {
            match &headers {
                None => client.publish(subject.clone(), payload.clone()).await?,
                Some(headers) => {
                    client
                        .publish_with_headers(subject.clone(), headers.clone(), payload.clone())
                        .await?;
                }
            }
        }
        Ok(())
    };
    send(WARM_UP).await?;
    round_trip(&client, &mut marker, &inbox).await?;

    let watch = Stopwatch::new();
    send(count).await?;
    round_trip(&client, &mut marker, &inbox).await?;
    emit(&Value::Object(watch.report(count)));
    Ok(())
}

/// Both ends on one client in one process.
async fn pubsub(args: &Args) -> Result<(), Error> {
    let count: u64 = args.number("count", 1_000_000)?;
    let client = connect(args, count + WARM_UP).await?;
    let subject = async_nats::Subject::from(subject(args));
    let payload = payload(args)?;
    let mut incoming = client.subscribe(subject.clone()).await?;

    let mut exchange = async |count: u64| -> Result<(), Error> {
        let publisher = tokio::spawn({
            let (client, subject, payload) = (client.clone(), subject.clone(), payload.clone());
            async move {
                for _ in 0..count {
                    client.publish(subject.clone(), payload.clone()).await?;
                }
                client.flush().await?;
                Ok::<_, Error>(())
            }
        });
        for _ in 0..count {
            incoming.next().await.ok_or("the subscription ended")?;
        }
        publisher.await?
    };
    exchange(WARM_UP).await?;

    let watch = Stopwatch::new();
    exchange(count).await?;
    emit(&Value::Object(watch.report(count)));
    Ok(())
}

/// Times the messages after the first one, which starts the clock.
async fn receive(args: &Args) -> Result<(), Error> {
    let count: u64 = args.number("count", 1_000_000)?;
    let client = connect(args, count).await?;
    let mut incoming = client.subscribe(subject(args)).await?;
    client.flush().await?;
    // The subscription is in the socket; a request would not overtake it, so this confirms it.
    let inbox = client.new_inbox();
    let mut marker = client.subscribe(inbox.clone()).await?;
    round_trip(&client, &mut marker, &inbox).await?;
    emit(&json!({"ready": true}));

    incoming.next().await.ok_or("the subscription ended")?;
    let watch = Stopwatch::new();
    for _ in 1..count {
        incoming.next().await.ok_or("the subscription ended")?;
    }
    emit(&Value::Object(watch.report(count - 1)));
    Ok(())
}

async fn feed(args: &Args) -> Result<(), Error> {
    let count: u64 = args.number("count", 1_000_000)?;
    let rate: f64 = args.number("rate", 0.0)?;
    let client = connect(args, 1).await?;
    let subject = async_nats::Subject::from(subject(args));
    let payload = payload(args)?;
    let inbox = client.new_inbox();
    let mut marker = client.subscribe(inbox.clone()).await?;

    let watch = Stopwatch::new();
    let started = Instant::now();
    for sent in 0..count {
        if rate > 0.0 && sent % 64 == 0 {
            let due = Duration::from_secs_f64(sent as f64 / rate);
            tokio::time::sleep_until((started + due).into()).await;
        }
        client.publish(subject.clone(), payload.clone()).await?;
    }
    round_trip(&client, &mut marker, &inbox).await?;
    emit(&Value::Object(watch.report(count)));
    Ok(())
}

async fn request(args: &Args) -> Result<(), Error> {
    let count: u64 = args.number("count", 10_000)?;
    let inflight: u64 = args.number("inflight", 1)?;
    let client = connect(args, 1).await?;
    let subject = async_nats::Subject::from(subject(args));
    let payload = payload(args)?;
    for _ in 0..100 {
        client.request(subject.clone(), payload.clone()).await?;
    }

    let watch = Stopwatch::new();
    let micros = in_flight(count, inflight, move |_| {
        let (client, subject, payload) = (client.clone(), subject.clone(), payload.clone());
        async move {
            client.request(subject, payload).await?;
            Ok(())
        }
    })
    .await?;
    let mut fields = watch.report(count);
    add_percentiles(&mut fields, micros);
    emit(&Value::Object(fields));
    Ok(())
}

/// Calls `once` for every number below `count`, `inflight` at a time; the microseconds each took.
async fn in_flight<F, R>(count: u64, inflight: u64, once: F) -> Result<Vec<f64>, Error>
where
    F: Fn(u64) -> R + Clone + Send + 'static,
    R: Future<Output = Result<(), Error>> + Send + 'static,
{
    let next = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..inflight)
        .map(|_| {
            let (next, once) = (Arc::clone(&next), once.clone());
            tokio::spawn(async move {
                let mut micros = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<_, Error>(micros);
                    }
                    let asked = Instant::now();
                    once(number).await?;
                    micros.push(asked.elapsed().as_secs_f64() * 1e6);
                }
            })
        })
        .collect();
    let mut micros = Vec::new();
    for worker in workers {
        micros.extend(worker.await??);
    }
    Ok(micros)
}

fn add_percentiles(fields: &mut Map<String, Value>, mut micros: Vec<f64>) {
    micros.sort_by(f64::total_cmp);
    for (name, percent) in [("p50_us", 50), ("p99_us", 99)] {
        let rank = (micros.len() * percent / 100).min(micros.len().saturating_sub(1));
        fields.insert(name.into(), json!(micros.get(rank)));
    }
}

/// Echoes until the process is killed.
async fn respond(args: &Args) -> Result<(), Error> {
    let client = connect(args, 65_536).await?;
    let mut requests = client.subscribe(subject(args)).await?;
    let inbox = client.new_inbox();
    let mut marker = client.subscribe(inbox.clone()).await?;
    round_trip(&client, &mut marker, &inbox).await?;
    emit(&json!({"ready": true}));
    while let Some(message) = requests.next().await {
        if let Some(reply) = message.reply {
            client.publish(reply, message.payload).await?;
        }
    }
    Ok(())
}
