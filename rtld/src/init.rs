//! In which order objects are initialised: what an object needs comes before it.
#![forbid(unsafe_code)]

use crate::arena::{Arena, List, OutOfMemory};

/// How far an object has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Begun,
}

/// The objects reachable from `root`, each after everything it needs; within a cycle, the one that was
/// needed first comes last. `needs(object, n)` answers the object's n-th need; numbers are less than `count`. What
/// `done` says yes to was initialised before, with all it needs.
///
/// Works without recursion: the depth of a chain of needs is not bounded by the stack.
pub fn order(
    arena: &Arena,
    count: usize,
    root: usize,
    done: impl Fn(usize) -> bool,
    needs: impl Fn(usize, usize) -> Option<usize>,
) -> Result<&[usize], OutOfMemory> {
    let mut order = List::new(arena);
    let visits = arena.slice(count, Visit::New)?;
    let path = arena.slice(count, (0usize, 0usize))?;
    let mut depth = 0usize;
    let enter = |visits: &mut [Visit], path: &mut [(usize, usize)], depth: usize, object: usize| match (
        visits.get_mut(object),
        path.get_mut(depth),
    ) {
        (Some(visit), Some(place)) if *visit == Visit::New && !done(object) => {
            *visit = Visit::Begun;
            *place = (object, 0);
            depth.saturating_add(1)
        }
        _ => depth,
    };
    depth = enter(visits, path, depth, root);
    while let Some(top) = depth.checked_sub(1).and_then(|top| path.get_mut(top)) {
        let (object, next) = *top;
        match needs(object, next) {
            Some(need) => {
                top.1 = next.saturating_add(1);
                depth = enter(visits, path, depth, need);
            }
            None => {
                order.push(object)?;
                depth = depth.saturating_sub(1);
            }
        }
    }
    let finished = arena.slice(order.len(), 0usize)?;
    finished.copy_from_slice(&order);
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use super::order;
    use crate::arena::Arena;
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;

    fn sorted(needs: &[&[usize]]) -> Vec<usize> {
        let arena = Arena::new(|bytes| Some(Box::leak(vec![0u8; bytes].into_boxed_slice()).into()));
        order(&arena, needs.len(), 0, |_| false, |object, n| needs[object].get(n).copied()).unwrap().to_vec()
    }

    #[test]
    fn dependencies_first() {
        assert_eq!(sorted(&[&[1, 2], &[3], &[3], &[]]), [3, 1, 2, 0]);
        assert_eq!(sorted(&[&[]]), [0]);
    }

    #[test]
    fn what_is_done_is_passed_over() {
        let arena = Arena::new(|bytes| Some(Box::leak(vec![0u8; bytes].into_boxed_slice()).into()));
        let needs: [&[usize]; 5] = [&[1], &[], &[3, 4], &[1], &[3]];
        let order = order(&arena, 5, 2, |object| object < 2, |object, n| needs[object].get(n).copied());
        assert_eq!(order.unwrap(), [3, 4, 2]);
    }

    #[test]
    fn cycles_end() {
        assert_eq!(sorted(&[&[1], &[2], &[1]]), [2, 1, 0]);
        assert_eq!(sorted(&[&[0]]), [0]);
    }

    #[test]
    fn long_chains_need_no_stack() {
        let chain: Vec<Vec<usize>> = (1..=100_000).map(|next| vec![next]).chain([vec![]]).collect();
        let needs: Vec<&[usize]> = chain.iter().map(Vec::as_slice).collect();
        assert_eq!(sorted(&needs).first(), Some(&100_000));
    }
}
