//! What the service answers, and that its policy is good: its own tests run when it is loaded.

use __ident__::v1::GreetRequest;
use __ident__::v1::__ident___server::__Name__;
use avouch_authz::{Methods, Policy};
use tonic::{Code, Request};

async fn greet(name: &str) -> Result<String, Code> {
    let answer = __ident__::Service.greet(Request::new(GreetRequest { name: name.to_owned() })).await;
    answer.map(|answer| answer.into_inner().greeting).map_err(|status| status.code())
}

#[tokio::test]
async fn somebody_with_a_name_is_greeted() {
    assert_eq!(greet("Ada").await.unwrap(), "hello, Ada");
}

#[tokio::test]
async fn a_name_that_is_none_is_refused() {
    assert_eq!(greet("").await, Err(Code::InvalidArgument));
    assert_eq!(greet(&"x".repeat(101)).await, Err(Code::InvalidArgument));
}

#[test]
fn the_policy_fits_the_contract_and_its_tests_hold() {
    let methods = Methods::new(&[&__ident__::CONTRACT]).unwrap();
    let problem = Policy::load("policy.toml", include_str!("../policy.toml"), &methods).err();
    assert!(problem.is_none(), "{}", problem.unwrap());
}
