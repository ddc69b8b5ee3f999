//! The order in which objects are initialised: an object's needs come before it.
#![forbid(unsafe_code)]

use crate::base::arena::{Arena, List, OutOfMemory};

/// Progress of the walk at an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Begun,
}

/// The objects of `scope`, each after everything that it needs. `scope` is a root and everything that the root needs,
/// breadth first, as numbers less than `count`. `needs(object, n)` returns the object's n-th need, always an object of
/// `scope`. Targets for which `done` returns true are initialised already, and are left out.
///
/// Where needs leave it open, the order is that of glibc (since 2.35, `_dl_sort_maps_dfs`): depth first from each
/// object, from the last of the scope to the first, with the root last in any case.
///
/// Works without recursion, because nothing bounds the depth of a chain of needs.
///
/// # Errors
/// The arena has no memory left.
pub fn order<'a>(
    arena: &'a Arena,
    count: usize,
    scope: &[usize],
    done: impl Fn(usize) -> bool,
    needs: impl Fn(usize, usize) -> Option<usize>,
) -> Result<&'a [usize], OutOfMemory> {
    let Some((&root, others)) = scope.split_first() else { return Ok(&[]) };
    let mut order = List::new(arena);
    let visits = arena.slice(count, Visit::New)?;
    let path = arena.slice(scope.len(), (0usize, 0usize))?;
    let enter = |visits: &mut [Visit], path: &mut [(usize, usize)], depth: usize, object: usize| match (
        visits.get_mut(object),
        path.get_mut(depth),
    ) {
        (Some(visit), Some(place)) if *visit == Visit::New && object != root && !done(object) => {
            *visit = Visit::Begun;
            *place = (object, 0);
            depth.wrapping_add(1)
        }
        _ => depth,
    };
    for &start in others.iter().rev() {
        let mut depth = enter(visits, path, 0, start);
        while let Some(top) = depth.checked_sub(1).and_then(|top| path.get_mut(top)) {
            let (object, next) = *top;
            match needs(object, next) {
                Some(need) => {
                    top.1 = next.wrapping_add(1);
                    depth = enter(visits, path, depth, need);
                }
                None => {
                    order.push(object)?;
                    depth = depth.saturating_sub(1);
                }
            }
        }
    }
    if !done(root) {
        order.push(root)?;
    }
    arena.copy(&order)
}

#[cfg(test)]
mod tests {
    use super::order;
    use crate::base::arena::Arena;

    use std::vec;
    use std::vec::Vec;

    fn sorted(needs: &[&[usize]]) -> Vec<usize> {
        let arena = Arena::new(crate::os::testing::leaking());
        let scope: Vec<_> = (0..needs.len()).collect();
        order(&arena, needs.len(), &scope, |_| false, |object, n| needs[object].get(n).copied()).unwrap().to_vec()
    }

    #[test]
    fn dependencies_first() {
        assert_eq!(sorted(&[&[1, 2], &[3], &[3], &[]]), [3, 2, 1, 0]);
        assert_eq!(sorted(&[&[1, 2, 3], &[], &[], &[]]), [3, 2, 1, 0], "the last one first");
        assert_eq!(sorted(&[&[]]), [0]);
    }

    #[test]
    fn what_is_done_is_passed_over() {
        let arena = Arena::new(crate::os::testing::leaking());
        let needs: [&[usize]; 5] = [&[1], &[], &[3, 4], &[1], &[3]];
        let done = |object| object < 2;
        let order = order(&arena, 5, &[2, 3, 4, 1], done, |object, n| needs[object].get(n).copied());
        assert_eq!(order.unwrap(), [3, 4, 2]);
    }

    #[test]
    fn cycles_end() {
        assert_eq!(sorted(&[&[1], &[2], &[1]]), [1, 2, 0]);
        assert_eq!(sorted(&[&[1], &[2, 0], &[1]]), [1, 2, 0], "the root is the last");
        assert_eq!(sorted(&[&[0]]), [0]);
    }

    #[test]
    fn long_chains_need_no_stack() {
        let chain: Vec<Vec<usize>> = (1..=100_000).map(|next| vec![next]).chain([vec![]]).collect();
        let needs: Vec<&[usize]> = chain.iter().map(Vec::as_slice).collect();
        assert_eq!(sorted(&needs).first(), Some(&100_000));
    }
}
