//! `snapback top`: all endpoints live, or once where there is no terminal.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    CliError, Exit, Screen,
    args::{OutputFormat, TopArgs},
    client::{Client, ClientError},
    endpoint,
    follow::Retry,
    output::Output,
    view::{
        Palette,
        top::{self, Order, Row, TopState},
    },
};
use crate::admin::wire;

/// Figures are of the last seconds, so that looking more often shows little that is new.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the picture moves while nobody answers.
const REDRAW: Duration = Duration::from_millis(500);

/// Shifts that are asked for in one look; the others show no alarm.
const MOST_SHIFTS: usize = 32;

/// Shows all endpoints until `q`.
pub(super) async fn top(args: TopArgs, output: &mut Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.connection);
    if output.format() == OutputFormat::Json || !Screen::is_possible() {
        let answer = client.get("/v1/endpoints").await?;
        output.answer(&answer, || Ok(endpoint::list(&answer.read()?)))?;
        return Ok(Exit::Done);
    }
    let mut looks = looks(client);
    // A signal ends the view like `q`, so that the terminal is given back.
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Start)?;
    let mut screen = Screen::open().map_err(CliError::Terminal)?;
    let mut keys = screen.keys();
    let mut state =
        TopState { palette: Palette::from_env(), order: Order::default(), offset: 0, lost_for: None };
    let (mut rows, mut heard) = (Vec::new(), Instant::now());
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        select! {
            look = looks.recv() => match look {
                Some(Ok(Some(seen))) => (rows, heard, state.lost_for) = (seen, Instant::now(), None),
                Some(Ok(None)) => state.lost_for = Some(heard.elapsed().as_secs()),
                Some(Err(error)) => return Err(error),
                None => return Ok(Exit::Done),
            },
            key = keys.recv() => if press(&mut state, key, rows.len()) == Wish::Quit {
                return Ok(Exit::Done);
            },
            _ = redraw.tick() => {}
            _ = terminate.recv() => return Ok(Exit::Done),
        }
        top::sort(&mut rows, state.order);
        screen.draw_with(|frame| top::draw(frame, &rows, &state)).map_err(CliError::Terminal)?;
    }
}

#[derive(PartialEq)]
enum Wish {
    Stay,
    Quit,
}

fn press(state: &mut TopState, key: Option<KeyEvent>, rows: usize) -> Wish {
    let Some(key) = key else { return Wish::Quit };
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return Wish::Quit;
    }
    let last = rows.saturating_sub(1);
    if key.code == KeyCode::Char('q') || key.code == KeyCode::Esc {
        return Wish::Quit;
    } else if key.code == KeyCode::Char('j') || key.code == KeyCode::Down {
        state.offset = (state.offset + 1).min(last);
    } else if key.code == KeyCode::Char('k') || key.code == KeyCode::Up {
        state.offset = state.offset.saturating_sub(1);
    } else if let KeyCode::Char(character) = key.code
        && let Some(order) = Order::of_key(character)
    {
        (state.order, state.offset) = (order, 0);
    }
    Wish::Stay
}

/// Looks until the receiver is dropped: all endpoints with their running shifts, or nothing while the admin port is away.
fn looks(client: Client) -> mpsc::Receiver<Result<Option<Vec<Row>>, CliError>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut pace = interval(LOOK_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retry = Retry::new();
        loop {
            pace.tick().await;
            let (look, pause) = match look(&client).await {
                Ok(rows) => {
                    retry = Retry::new();
                    (Ok(Some(rows)), Duration::ZERO)
                }
                Err(error) => match retry.after(error) {
                    Ok(pause) => (Ok(None), pause),
                    Err(error) => (Err(error), Duration::ZERO),
                },
            };
            let is_last = look.is_err();
            if sender.send(look).await.is_err() || is_last {
                return;
            }
            sleep(pause).await;
        }
    });
    receiver
}

async fn look(client: &Client) -> Result<Vec<Row>, ClientError> {
    let wire::Endpoints { endpoints } = client.get("/v1/endpoints").await?.read()?;
    let mut rows = Vec::with_capacity(endpoints.len());
    let mut asked = 0;
    for endpoint in endpoints {
        let shift = match &endpoint.running_shift {
            Some(id) if asked < MOST_SHIFTS => {
                asked += 1;
                match client.get(&format!("/v1/shifts/{id}")).await {
                    Ok(answer) => Some(answer.read()?),
                    // It ended between the two questions, and its record went.
                    Err(error) if error.is_not_found() => None,
                    Err(error) => return Err(error),
                }
            }
            Some(_) | None => None,
        };
        rows.push(Row { endpoint, shift });
    }
    Ok(rows)
}
