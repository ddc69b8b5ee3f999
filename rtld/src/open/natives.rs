//! Native libraries that opened libraries need: libc has them open for as long as one of the libraries is there that came with
//! one open. And what their unwinder was told of.
#![forbid(unsafe_code)]

use core::ptr;

use crate::elf::eh_frame::find;
use crate::open::libraries::Libraries;
use crate::open::opened::{Opened, Stage};
use crate::os::seam::ImageMut;

impl<I: ImageMut + 'static> Libraries<'static, I> {
    /// Keeps libc's handles of the native libraries that came with module `index`.
    pub fn keep_natives(&mut self, index: usize, handles: &'static [usize]) {
        let opened = self.opened_mut(index);
        opened.into_iter().for_each(|opened| opened.group.natives.set(handles));
    }

    /// libc's handles of native libraries that module `index`, or what came with it, needs.
    #[must_use]
    pub fn natives_of(&self, index: usize) -> &'static [usize] {
        let opened = self.namespace.get(index).and_then(|module| module.opened.as_ref());
        opened.map_or(&[], |opened| opened.group.natives.get())
    }

    /// Takes out the handles of native libraries that nothing needs any more once `objects` are removed.
    pub fn take_natives(&mut self, objects: &[usize], index: usize) -> &'static [usize] {
        let group = |index: usize| Some(self.namespace.get(index)?.opened.as_ref()?.group);
        let Some(of) = group(index) else { return &[] };
        let going = objects.iter().filter(|&&other| group(other).is_some_and(|group| ptr::eq(group, of)));
        if going.count() == of.live.get() { of.natives.replace(&[]) } else { &[] }
    }

    /// Whether a module was opened at run time and has unwind tables that are not registered with an unwinder yet. If
    /// so, they count as registered from now on, and the module stays loaded for good. One that may still go, because its open
    /// can fail or it is being closed, has none.
    pub fn keep_untold(&mut self, index: usize) -> bool {
        let module = self.namespace.get(index);
        let untold = module.is_some_and(|module| {
            let stays = |opened: &Opened<'_>| matches!(opened.stage, Stage::Initialising | Stage::Open);
            module.opened.as_ref().is_some_and(|opened| !opened.told && stays(opened)) && find(module).is_some()
        });
        let Some(opened) = self.opened_mut(index).filter(|_| untold) else { return false };
        opened.told = true;
        opened.pinned = true;
        true
    }
}
