//! Chat templates by name, for models that come without one or with a broken one.

/// Formats of conversations that many models share: name and Jinja source.
pub const CHAT_TEMPLATES: &[(&str, &str)] = &[
    (
        "chatml",
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}\
         {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    ),
    (
        "gemma",
        "{{ bos_token }}{% set rest = messages %}{% set opening = '' %}\
         {% if messages and messages[0].role == 'system' %}\
         {% set opening = messages[0].content | trim ~ '\n\n' %}{% set rest = messages[1:] %}{% endif %}\
         {% for message in rest %}<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}\n\
         {% if loop.first %}{{ opening }}{% endif %}{{ message.content | trim }}<end_of_turn>\n{% endfor %}\
         {% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    ),
    (
        "llama3",
        "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n\
         {{ message.content | trim }}<|eot_id|>{% endfor %}\
         {% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    ),
    (
        "phi3",
        "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}\
         {% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ),
    (
        "zephyr",
        "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}{{ eos_token }}\n{% endfor %}\
         {% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    ),
];

/// The source of the template with this name.
///
/// ```
/// let source = parr::tokenizer::named_template("chatml").expect("a known name");
/// let template = parr::tokenizer::ChatTemplate::compile(source, "", "")?;
/// let messages = [parr::tokenizer::Message::new("user", "Hello!")];
/// let prompt = "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n";
/// assert_eq!(template.render(&messages, true)?, prompt);
/// # Ok::<(), parr::tokenizer::TextError>(())
/// ```
pub fn named_template(name: &str) -> Option<&'static str> {
    CHAT_TEMPLATES.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{ChatTemplate, Message};

    fn rendered(name: &str, messages: &[Message]) -> String {
        let source = named_template(name).expect("a known name");
        let template = ChatTemplate::compile(source, "<bos>", "</s>").expect("it compiles");
        template.render(messages, true).expect("it renders")
    }

    #[test]
    fn every_format_writes_the_turns_as_its_models_were_trained() {
        let messages = [("system", "Be brief."), ("user", "Hi?"), ("assistant", "Hi."), ("user", "So?")]
            .map(|(role, text)| Message::new(role, text));
        let expected = [
            (
                "chatml",
                "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi?<|im_end|>\n<|im_start|>assistant\nHi.<|im_end|>\n<|im_start|>user\nSo?<|im_end|>\n<|im_start|>assistant\n",
            ),
            (
                "gemma",
                "<bos><start_of_turn>user\nBe brief.\n\nHi?<end_of_turn>\n<start_of_turn>model\nHi.<end_of_turn>\n<start_of_turn>user\nSo?<end_of_turn>\n<start_of_turn>model\n",
            ),
            (
                "llama3",
                "<bos><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHi.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nSo?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
            ),
            (
                "phi3",
                "<|system|>\nBe brief.<|end|>\n<|user|>\nHi?<|end|>\n<|assistant|>\nHi.<|end|>\n<|user|>\nSo?<|end|>\n<|assistant|>\n",
            ),
            (
                "zephyr",
                "<|system|>\nBe brief.</s>\n<|user|>\nHi?</s>\n<|assistant|>\nHi.</s>\n<|user|>\nSo?</s>\n<|assistant|>\n",
            ),
        ];
        assert_eq!(
            expected.map(|(name, _)| name).to_vec(),
            CHAT_TEMPLATES.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        );
        for (name, text) in expected {
            assert_eq!(rendered(name, &messages), text, "{name}");
        }
    }
}
