//! How the loop takes a command: orders change at once and models leave service at once; to
//! load is the matter of the rounds that follow.

use std::collections::BTreeSet;

use super::commands::{Ask, Command, ModelConfig};
use super::orders::{self, Ground};
use super::rounds::{Loop, no_such_model, unreadable};
use super::scan;
use super::spec::ModelSpecFile;
use super::versions::Out;
use crate::error::InferError;

impl Loop {
    /// Does what was asked, and answers or remembers who asked.
    pub fn obey(&mut self, command: Command) {
        let Command { ask, caller } = command;
        // Only a round that begins after this has seen the files as the caller left them.
        let from = self.rounds + 1;
        match self.decide(ask) {
            Ok(models) => self.waiting.add(models, from, caller),
            Err(error) => caller.tell(Err(error)),
        }
    }

    /// The models whose coming to rest is the answer.
    fn decide(&mut self, ask: Ask) -> Result<BTreeSet<String>, InferError> {
        let found = scan::scan(&self.settings.root).map_err(|e| unreadable(&self.settings, &e))?;
        match ask {
            Ask::Load(name) => {
                if !found.contains_key(&name) {
                    return Err(no_such_model(&self.settings, &name));
                }
                tracing::info!(model = name, "asked to load");
                self.orders.ask(&name, true);
                self.orders.demand(&name);
                self.try_again(&name);
                Ok(BTreeSet::from([name]))
            }
            Ask::Unload(name) => {
                let Some(on_disk) = found.get(&name) else {
                    return Err(no_such_model(&self.settings, &name));
                };
                tracing::info!(model = name, "asked to unload");
                self.orders.ask(&name, false);
                self.orders.put_by(&name);
                self.take_out(&name, Out::Unloaded, on_disk);
                Ok(BTreeSet::new())
            }
            Ask::Bring(name) => {
                if !found.contains_key(&name) {
                    return Err(no_such_model(&self.settings, &name));
                }
                if !self.orders.is_demanded(&name) {
                    tracing::info!(model = name, "a request asks for it");
                    self.orders.demand(&name);
                    self.try_again(&name);
                }
                Ok(BTreeSet::from([name]))
            }
            Ask::Configure(models) => self.configure(models, &found),
        }
    }

    fn configure(
        &mut self,
        models: Vec<ModelConfig>,
        found: &scan::Found,
    ) -> Result<BTreeSet<String>, InferError> {
        let root = &self.settings.root;
        let cwd = std::env::current_dir().unwrap_or_default();
        let ground = Ground { cwd: &cwd, root, found };
        let policy = |name: &str| Ok(ModelSpecFile::read(&root.join(name), None)?.versions);
        let list = orders::check(models, &ground, policy)?;
        let names: BTreeSet<String> = list.keys().cloned().collect();
        tracing::info!(models = ?names, "asked to serve these alone");
        self.orders.replace(list);
        for (name, on_disk) in found.iter().filter(|(name, _)| !names.contains(*name)) {
            self.orders.put_by(name);
            self.take_out(name, Out::Unloaded, on_disk);
        }
        names.iter().for_each(|name| self.try_again(name));
        Ok(names)
    }

    /// What failed is tried again, unless that is under way for somebody else.
    fn try_again(&mut self, name: &str) {
        self.waiting.forget_gone();
        if !self.waiting.waits_for(name)
            && let Some(model) = self.models.get_mut(name)
        {
            model.known.values_mut().for_each(|known| known.failed = None);
        }
    }
}
