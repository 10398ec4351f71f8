//! The principles of scoring prompts: how often each is drawn.

use super::read;
use parr::principles::{PrincipleSet, PromptType};
use parr::random::Philox;

/// The weights of SALMON's collection for the policy.
const WEIGHTS: [(&str, f64); 14] = [
    ("Candor", 4.0),
    ("Accurate", 3.0),
    ("Comprehensive", 3.0),
    ("Natural", 3.0),
    ("Analytical", 3.0),
    ("Ethical", 2.0),
    ("Stand-Alone", 2.0),
    ("Educational", 1.0),
    ("Creative", 1.0),
    ("Multilingual", 1.0),
    ("Consistent Reasoning", 1.0),
    ("Numerical Sensitive", 1.0),
    ("Vivid", 1.0),
    ("Privacy", 1.0),
];

fn salmon() -> PrincipleSet {
    let items = WEIGHTS.map(|(name, weight)| {
        format!("{{\"dimension\": \"{name}\", \"definition\": \"Be {name}.\", \"weight\": {weight}}}")
    });
    read("ppo.json", &format!("[{}]", items.join(","))).expect("sound")
}

/// The chance of each principle to be among three that are drawn one after another.
fn inclusion(rates: &[f64]) -> Vec<f64> {
    let mut chances = vec![0.0; rates.len()];
    let total: f64 = rates.iter().sum();
    for a in 0..rates.len() {
        for b in (0..rates.len()).filter(|&b| b != a) {
            for c in (0..rates.len()).filter(|&c| c != a && c != b) {
                let left = total - rates[a];
                let chance = rates[a] / total * rates[b] / left * rates[c] / (left - rates[b]);
                [a, b, c].into_iter().for_each(|drawn| chances[drawn] += chance);
            }
        }
    }
    chances
}

#[test]
fn inclusion_is_that_of_weighted_draws_without_replacement() {
    let set = salmon();
    const DRAWS: u32 = 20_000;
    for kind in PromptType::ALL {
        let rates: Vec<f64> =
            set.principles.iter().map(|principle| principle.weight + principle.boost.of(kind)).collect();
        let expected = inclusion(&rates);
        // The published table, to its three digits.
        let of = |name: &str| WEIGHTS.iter().position(|(known, _)| *known == name).expect("known");
        let table = match kind {
            PromptType::General => {
                [("Candor", 0.413), ("Natural", 0.326), ("Ethical", 0.227), ("Vivid", 0.119)]
            }
            PromptType::Reasoning => {
                [("Candor", 0.166), ("Natural", 0.125), ("Ethical", 0.083), ("Numerical Sensitive", 0.979)]
            }
            PromptType::RedTeam => {
                [("Candor", 0.308), ("Ethical", 0.997), ("Stand-Alone", 0.162), ("Vivid", 0.083)]
            }
        };
        for (name, chance) in table {
            assert!((expected[of(name)] - chance).abs() < 5e-4 + 1e-9, "{name}: {}", expected[of(name)]);
        }
        let mut counts = vec![0u32; rates.len()];
        for index in 0..DRAWS {
            let drawn = set.draw(kind, Philox::new(5), 0, index);
            assert_eq!(drawn.len(), 3);
            assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
            drawn.into_iter().for_each(|place| counts[place] += 1);
        }
        for (place, (&count, chance)) in counts.iter().zip(expected).enumerate() {
            // Four standard deviations of a binomial count.
            let bound = 4.0 * (f64::from(DRAWS) * chance * (1.0 - chance)).sqrt();
            let apart = (f64::from(count) - f64::from(DRAWS) * chance).abs();
            assert!(apart <= bound, "{kind:?} {}: {apart} > {bound}", WEIGHTS[place].0);
        }
    }
}

#[test]
fn a_draw_depends_on_its_name_alone() {
    let set = salmon();
    let draw = |seed, step, index| set.draw(PromptType::General, Philox::new(seed), step, index);
    assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
    let differ = |other: &dyn Fn(u32) -> Vec<usize>| (0..20).any(|at| other(at) != draw(1, 2, at));
    assert!(differ(&|at| draw(2, 2, at)) && differ(&|at| draw(1, 3, at)) && differ(&|at| draw(1, 2, at + 1)));
}

#[test]
fn sets_that_do_not_draw_give_all_in_order() {
    let interventions = PrincipleSet::open("interventions").expect("built in");
    assert_eq!(interventions.draw(PromptType::RedTeam, Philox::new(1), 0, 0), [0, 1, 2]);
}
