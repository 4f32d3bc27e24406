use super::*;

mod advertisement;
mod answer;
mod solicitation;

use crate::testing::{Host, address, host};
