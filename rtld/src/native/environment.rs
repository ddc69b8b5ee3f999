//! One environment for program and libc: what native constructors have changed in libc's list of it is changed in the
//! program's, which is libc's from then on.
#![forbid(unsafe_code)]

/// Makes the changes that lead from `before` to `after`, two lists of addresses of variables without their final 0, in
/// `list`, the program's, which ends with a 0. libcs change a list in place by removing from it and by exchanging single
/// variables, and never make it longer; neither is this one made longer.
pub fn follow(list: &mut [u64], before: &[u64], after: &[u64]) {
    // Where the program has changed nothing, any order will do.
    if list.strip_prefix(before).is_some_and(|rest| rest.first() == Some(&0))
        && let Some((end, places)) = list.get_mut(..=after.len()).and_then(<[u64]>::split_last_mut)
    {
        places.copy_from_slice(after);
        *end = 0;
        return;
    }
    let mut new = after.iter().copied().peekable();
    for (index, &old) in before.iter().enumerate() {
        let stays = |next: u64| before.get(index.wrapping_add(1)..).unwrap_or_default().contains(&next);
        let next = new.next_if(|&next| next == old || !stays(next));
        if next != Some(old) {
            replace(list, old, next);
        }
    }
}

/// Exchanges a variable in a list, or removes it.
fn replace(list: &mut [u64], old: u64, new: Option<u64>) {
    let end = list.iter().position(|&word| word == 0).unwrap_or(0);
    let Some(list) = list.get_mut(..=end) else { return };
    let Some(at) = list.iter().position(|&word| word == old && word != 0) else { return };
    match (new, list.get_mut(at)) {
        (Some(new), Some(place)) => *place = new,
        _ => list.copy_within(at.wrapping_add(1).., at),
    }
}

#[cfg(test)]
mod tests {
    use super::follow;

    fn followed(list: &[u64], before: &[u64], after: &[u64]) -> std::vec::Vec<u64> {
        let mut list = [list, &[0]].concat();
        follow(&mut list, before, after);
        let end = list.iter().position(|&word| word == 0).unwrap();
        list.truncate(end);
        list
    }

    #[test]
    fn changes_of_both_sides() {
        let before = [10, 20, 30, 40];
        assert_eq!(followed(&before, &before, &before), before);
        assert_eq!(followed(&before, &before, &[10, 30, 40]), [10, 30, 40], "removed");
        assert_eq!(followed(&before, &before, &[20, 40]), [20, 40]);
        assert_eq!(followed(&before, &before, &[]), []);
        assert_eq!(followed(&before, &before, &[10, 21, 30, 40]), [10, 21, 30, 40], "exchanged");
        assert_eq!(followed(&before, &before, &[21, 30, 41]), [21, 30, 41]);
        assert_eq!(followed(&before, &before, &[40, 30, 20, 10]), [40, 30, 20, 10], "in another order");
        assert_eq!(followed(&before, &before, &[20, 20, 30, 40]), [20, 20, 30, 40], "repeated");
        // What the program has removed or exchanged itself stays so.
        assert_eq!(followed(&[], &before, &[10, 21, 40]), []);
        assert_eq!(followed(&[11, 20, 40], &before, &[10, 20, 30]), [11, 20]);
        assert_eq!(followed(&[10, 25, 30], &before, &[10, 21, 40]), [10, 25]);
    }

    #[test]
    fn repeated_variables() {
        assert_eq!(followed(&[10, 10, 20], &[10, 10, 20], &[10, 20]), [10, 20]);
        assert_eq!(followed(&[10, 10], &[10, 10], &[]), []);
    }
}
