//! A mesh that has run for long, at once.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    time::Duration,
};

use super::{LinkId, Net};

/// A connection: its other end, its delay and its number.
type Edge = (usize, Duration, LinkId);

impl Net {
    /// Has all nodes know each other, their connections made, and the trees
    /// grown by which news of each come to all: the shortest ways.
    pub fn cold_start(&mut self) {
        let count = self.peers.len();
        let own: Vec<_> = self.peers.iter().map(|peer| peer.mesh.own().since(None)).collect();
        let Some((first, others)) = self.peers.split_first_mut() else { return };
        for delta in own.into_iter().skip(1) {
            first.mesh.remember(delta, self.now + first.clock).expect("it is true");
        }
        for peer in others {
            peer.mesh.know_as(&first.mesh, self.now + peer.clock);
        }
        (0..count).for_each(|index| self.set_due(index));
        self.run_for(Duration::from_secs(20));
        let edges: Vec<Vec<Edge>> = (0..count).map(|index| self.edges(index)).collect();
        for owner in 0..count {
            self.grow(owner, &edges);
        }
    }

    fn edges(&self, index: usize) -> Vec<Edge> {
        let lasting = self.peers[index].mesh.lasting();
        let edge = |(link, node)| Some((*self.by_node.get(&node)?, link));
        let edges = lasting.filter_map(edge);
        edges.map(|(to, link)| (to, self.delay(index, to), link)).collect()
    }

    /// The tree of one owner: each node hears by the shortest way.
    fn grow(&mut self, owner: usize, edges: &[Vec<Edge>]) {
        let mut best = vec![Duration::MAX; edges.len()];
        let mut parents = vec![None; edges.len()];
        let mut heap = BinaryHeap::from([Reverse((Duration::ZERO, owner))]);
        best[owner] = Duration::ZERO;
        while let Some(Reverse((at, node))) = heap.pop() {
            if at > best[node] {
                continue;
            }
            for (to, delay, link) in &edges[node] {
                if at + *delay < best[*to] {
                    best[*to] = at + *delay;
                    parents[*to] = Some((node, *link));
                    heap.push(Reverse((at + *delay, *to)));
                }
            }
        }
        let mut told = vec![BTreeSet::new(); edges.len()];
        for (parent, link) in parents.iter().flatten() {
            told[*parent].insert(*link);
        }
        let id = self.peers[owner].mesh.me();
        for (index, told) in told.iter().enumerate() {
            let parent = parents[index].map(|(_, link)| link);
            self.peers[index].mesh.grow(id, parent, told);
        }
    }
}
