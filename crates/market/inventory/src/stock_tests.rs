use std::sync::Arc;

use market_api::inventory::v1::Line;

use super::*;

const STOCK: &str = "
    [[article]]
    sku = 'BOOK'
    on_hand = 10
    [[article]]
    sku = 'LAMP'
    on_hand = 3
    [[article]]
    sku = 'PEN'
    on_hand = 10
    reorder = { below = 5, quantity = 20 }
";

struct Shop {
    folder: tempfile::TempDir,
    inventory: Inventory,
}

impl Shop {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inventory = Self::at(&folder).await;
        Self { folder, inventory }
    }

    async fn at(folder: &tempfile::TempDir) -> Inventory {
        Inventory::open(&folder.path().join("inventory.db"), Seed::parse(STOCK).unwrap()).await.unwrap()
    }

    /// Keeps the database file and no other state, as a crash does.
    async fn reopen(&mut self) {
        self.inventory = Self::at(&self.folder).await;
    }

    async fn level(&self, sku: &str) -> (u64, u64) {
        let level = self.inventory.level(sku.parse().unwrap()).await.unwrap();
        (level.on_hand, level.held)
    }

    async fn reserve(
        &self,
        order: &str,
        lines: &[(&str, u32)],
    ) -> Result<ReservationOutcome, InventoryError> {
        self.inventory.reserve(id(order), wanted(lines)).await
    }
}

fn id(order: &str) -> OrderId {
    order.parse().unwrap()
}

fn wanted(lines: &[(&str, u32)]) -> Lines {
    let lines: Vec<_> =
        lines.iter().map(|(sku, quantity)| Line { sku: (*sku).to_owned(), quantity: *quantity }).collect();
    Lines::try_from(lines.as_slice()).unwrap()
}

fn out_of(sku: &str) -> ReservationOutcome {
    ReservationOutcome::OutOfStock(sku.parse().unwrap())
}

#[tokio::test]
async fn a_reservation_is_held_then_committed_out_of_stock() {
    let shop = Shop::open().await;
    assert_eq!(shop.reserve("o-1", &[("BOOK", 4), ("LAMP", 1)]).await.unwrap(), ReservationOutcome::Held);
    assert_eq!((shop.level("BOOK").await, shop.level("LAMP").await), ((10, 4), (3, 1)));
    shop.inventory.commit(id("o-1")).await.unwrap();
    assert_eq!((shop.level("BOOK").await, shop.level("LAMP").await), ((6, 0), (2, 0)));
}

#[tokio::test]
async fn a_released_reservation_is_free_again() {
    let shop = Shop::open().await;
    shop.reserve("o-1", &[("LAMP", 3)]).await.unwrap();
    assert_eq!(shop.reserve("o-2", &[("LAMP", 1)]).await.unwrap(), out_of("LAMP"));
    shop.inventory.release(id("o-1")).await.unwrap();
    assert_eq!(shop.level("LAMP").await, (3, 0));
    assert_eq!(shop.reserve("o-3", &[("LAMP", 3)]).await.unwrap(), ReservationOutcome::Held);
}

#[tokio::test]
async fn an_order_that_is_short_of_one_article_holds_nothing_of_the_others() {
    let shop = Shop::open().await;
    assert_eq!(shop.reserve("o-1", &[("BOOK", 1), ("LAMP", 4)]).await.unwrap(), out_of("LAMP"));
    assert_eq!(shop.level("BOOK").await, (10, 0));
}

#[tokio::test]
async fn an_unknown_article_is_named() {
    let shop = Shop::open().await;
    let outcome = shop.reserve("o-1", &[("BOOK", 1), ("NONE", 1)]).await.unwrap();
    assert_eq!(outcome, ReservationOutcome::UnknownSku("NONE".parse().unwrap()));
    assert!(matches!(shop.inventory.level("NONE".parse().unwrap()).await, Err(InventoryError::UnknownSku)));
}

#[tokio::test]
async fn repeated_requests_change_nothing_more() {
    let mut shop = Shop::open().await;
    for _ in 0..3 {
        assert_eq!(shop.reserve("o-1", &[("BOOK", 4)]).await.unwrap(), ReservationOutcome::Held);
        shop.reopen().await;
    }
    assert_eq!(shop.level("BOOK").await, (10, 4));
    for _ in 0..3 {
        shop.inventory.commit(id("o-1")).await.unwrap();
        shop.reopen().await;
    }
    assert_eq!(shop.level("BOOK").await, (6, 0));
    // A duplicate of the first request that was delayed until now.
    assert_eq!(shop.reserve("o-1", &[("BOOK", 4)]).await.unwrap(), ReservationOutcome::Held);
    assert_eq!(shop.level("BOOK").await, (6, 0));
}

#[tokio::test]
async fn the_same_order_with_other_lines_is_refused() {
    let shop = Shop::open().await;
    shop.reserve("o-1", &[("BOOK", 4)]).await.unwrap();
    for lines in [&[("BOOK", 5)][..], &[("BOOK", 4), ("LAMP", 1)], &[("LAMP", 4)]] {
        assert!(matches!(shop.reserve("o-1", lines).await, Err(InventoryError::OtherLines)));
    }
    assert_eq!(shop.level("BOOK").await, (10, 4));
}

#[tokio::test]
async fn a_refused_order_stays_refused_when_stock_comes_back() {
    let shop = Shop::open().await;
    shop.reserve("o-1", &[("LAMP", 3)]).await.unwrap();
    assert_eq!(shop.reserve("o-2", &[("LAMP", 1)]).await.unwrap(), out_of("LAMP"));
    shop.inventory.release(id("o-1")).await.unwrap();
    assert_eq!(shop.reserve("o-2", &[("LAMP", 1)]).await.unwrap(), out_of("LAMP"));
    assert_eq!(shop.level("LAMP").await, (3, 0));
}

#[tokio::test]
async fn a_reserve_that_arrives_after_its_release_holds_nothing() {
    let mut shop = Shop::open().await;
    shop.inventory.release(id("o-1")).await.unwrap();
    shop.reopen().await;
    assert!(matches!(shop.reserve("o-1", &[("BOOK", 1)]).await, Err(InventoryError::Released)));
    assert_eq!(shop.level("BOOK").await, (10, 0));
}

#[tokio::test]
async fn what_is_committed_cannot_be_released_and_what_is_released_cannot_be_committed() {
    let shop = Shop::open().await;
    shop.reserve("o-1", &[("BOOK", 1)]).await.unwrap();
    shop.inventory.commit(id("o-1")).await.unwrap();
    assert!(matches!(shop.inventory.release(id("o-1")).await, Err(InventoryError::Committed)));
    shop.reserve("o-2", &[("BOOK", 1)]).await.unwrap();
    for _ in 0..2 {
        shop.inventory.release(id("o-2")).await.unwrap();
    }
    assert!(matches!(shop.inventory.commit(id("o-2")).await, Err(InventoryError::Released)));
    assert_eq!(shop.level("BOOK").await, (9, 0));
}

#[tokio::test]
async fn what_was_never_held_cannot_be_committed() {
    let shop = Shop::open().await;
    assert!(matches!(shop.inventory.commit(id("o-1")).await, Err(InventoryError::NotHeld)));
    shop.reserve("o-2", &[("LAMP", 4)]).await.unwrap();
    assert!(matches!(shop.inventory.commit(id("o-2")).await, Err(InventoryError::NotHeld)));
    // Releasing a refused reservation changes nothing.
    shop.inventory.release(id("o-2")).await.unwrap();
    assert_eq!(shop.level("LAMP").await, (3, 0));
}

#[tokio::test]
async fn an_article_that_runs_low_is_delivered_again() {
    let shop = Shop::open().await;
    shop.reserve("o-1", &[("PEN", 5)]).await.unwrap();
    shop.inventory.commit(id("o-1")).await.unwrap();
    assert_eq!(shop.level("PEN").await, (5, 0));
    shop.reserve("o-2", &[("PEN", 1)]).await.unwrap();
    shop.inventory.commit(id("o-2")).await.unwrap();
    assert_eq!(shop.level("PEN").await, (24, 0));
}

#[tokio::test]
async fn the_seed_does_not_refill_what_was_sold() {
    let mut shop = Shop::open().await;
    shop.reserve("o-1", &[("BOOK", 10)]).await.unwrap();
    shop.inventory.commit(id("o-1")).await.unwrap();
    shop.reopen().await;
    assert_eq!(shop.level("BOOK").await, (0, 0));
}

#[tokio::test]
async fn many_at_once_never_sell_more_than_there_is() {
    let shop = Arc::new(Shop::open().await);
    let orders: Vec<_> = (0..60)
        .map(|n| {
            let shop = Arc::clone(&shop);
            tokio::spawn(async move {
                let order = format!("o-{n}");
                if shop.reserve(&order, &[("BOOK", 1)]).await.unwrap() != ReservationOutcome::Held {
                    return 0_u32;
                }
                shop.inventory.commit(id(&order)).await.unwrap();
                1
            })
        })
        .collect();
    let mut sold = 0;
    for order in orders {
        sold += order.await.unwrap();
    }
    assert_eq!(sold, 10);
    assert_eq!(shop.level("BOOK").await, (0, 0));
}
