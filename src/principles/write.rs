//! Writes a set as the text of its file.

use toml::{Table, Value};

use super::{Boost, Override, Principle, PrincipleSet, PromptType, Use};

impl PrincipleSet {
    /// Returns the set as TOML. [`PrincipleSet::parse`] reads it as the same set, with another hash. Nothing
    /// is checked here. To find mistakes in a set that was built or edited in code, parse the text.
    pub fn to_toml(&self) -> String {
        let mut table = Table::new();
        table.insert("id".to_owned(), self.id.as_str().into());
        table.insert("title".to_owned(), self.title.as_str().into());
        table.insert("description".to_owned(), self.description.as_str().into());
        table.insert("use".to_owned(), self.uses.name().into());
        if let Use::Sample { draws } = self.uses {
            table.insert("draws".to_owned(), Value::Integer(draws as i64));
        }
        let mut rules = Table::new();
        if let Some(boilerplate) = &self.overrides.boilerplate {
            let mut rule = override_rule(&boilerplate.rule);
            rule.insert("phrases".to_owned(), strings(&boilerplate.phrases));
            rules.insert("boilerplate".to_owned(), rule.into());
        }
        if let Some(language) = &self.overrides.language {
            rules.insert("language".to_owned(), override_rule(language).into());
        }
        if !rules.is_empty() {
            table.insert("overrides".to_owned(), rules.into());
        }
        let principles = self.principles.iter().map(|one| principle(one).into()).collect();
        table.insert("principle".to_owned(), Value::Array(principles));
        toml::to_string(&table).expect("keys are strings and values plain")
    }
}

fn strings(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(|text| text.as_str().into()).collect())
}

fn override_rule(rule: &Override) -> Table {
    let mut table = Table::new();
    table.insert("probability".to_owned(), rule.probability.into());
    table.insert("noise".to_owned(), rule.noise.into());
    table.insert("explained_by".to_owned(), rule.explained_by.as_str().into());
    table
}

/// Fields with their default values are left out, because sets with another use refuse some of them.
fn principle(principle: &Principle) -> Table {
    let Principle { id, dimension, definition, negative, weight, tags, boost, decides, check } = principle;
    let mut table = Table::new();
    for (key, text) in [("id", id), ("dimension", dimension), ("definition", definition)] {
        table.insert(key.to_owned(), text.as_str().into());
    }
    if let Some(negative) = negative {
        table.insert("negative".to_owned(), negative.as_str().into());
    }
    table.insert("weight".to_owned(), (*weight).into());
    if !tags.is_empty() {
        table.insert("tags".to_owned(), strings(tags));
    }
    if *boost != Boost::default() {
        let of = |kind: PromptType| (kind.name().to_owned(), Value::from(boost.of(kind)));
        table.insert("boost".to_owned(), Value::Table(PromptType::ALL.map(of).into_iter().collect()));
    }
    if !decides {
        table.insert("decides".to_owned(), false.into());
    }
    if let Some(check) = check {
        table.insert("check".to_owned(), check.name().into());
    }
    table
}

#[cfg(test)]
mod tests {
    use crate::principles::{PrincipleSet, PrinciplesError, SHIPPED};

    #[test]
    fn every_shipped_set_comes_back_as_it_was() {
        for (name, _) in SHIPPED {
            let set = PrincipleSet::open(name).expect("shipped sets are valid");
            let mut read = PrincipleSet::parse(&set.to_toml()).expect("a written set is valid");
            assert_ne!(read.sha256, set.sha256, "another text");
            read.sha256.clone_from(&set.sha256);
            assert_eq!(read, set);
        }
    }

    #[test]
    fn an_edited_set_is_judged_by_line_and_column() {
        let mut set = PrincipleSet::open("reward").expect("shipped");
        set.principles[1].weight = -1.0;
        let text = set.to_toml();
        let Err(PrinciplesError::Faults(faults)) = PrincipleSet::parse(&text) else {
            panic!("a negative weight was taken");
        };
        let [fault] = &faults[..] else { panic!("{faults:?}") };
        let line = text.lines().nth(fault.line - 1).expect("a line of the text");
        assert_eq!(&line[fault.column - 1..], "-1.0", "{fault}");
    }
}
