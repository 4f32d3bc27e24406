//! Nothing: the programs are the binary. A library target lets `ila-agent`
//! depend on this crate, so that cargo rebuilds the object when it changes.
#![no_std]
