"""The control tokens of model families, and chat templates that write them the way that theirs do.

The templates are short ones of our own: each shows every field of a conversation, and puts tokens together as its
family does.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One family: what its tokenizer never takes apart, and a template."""

    name: str
    # Tokens without a text of their own, and others that its tokenizer looks for first.
    controls: tuple[str, ...]
    others: tuple[str, ...]
    template: str


_CALLS = (
    "{% for call in message.tool_calls or [] %}<tool_call>\n"
    '{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}"
)
_TOOLS = "{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}"

FAMILIES = (
    Family(
        "qwen",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"),
        ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<|fim_prefix|>"),
        "{{ '<|im_start|>system\n' }}" + _TOOLS + "{{- '<|im_end|>\n' }}"
        "{%- for message in messages %}"
        "{%- set content = message.content | trim %}"
        "{%- if message.role == 'tool' %}"
        "{{- '<|im_start|>user\n<tool_response>\n' + content + '\n</tool_response><|im_end|>\n' }}"
        "{%- elif message.role == 'user' and content.startswith('<tool_response>') %}"
        "{{- '<|im_start|>tool\n' + content + '<|im_end|>\n' }}"
        "{%- else %}"
        "{%- set reasoning = message.reasoning_content or '' %}"
        "{%- if '</think>' in content %}"
        "{%- set reasoning = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
        "{%- set content = content.split('</think>')[-1].lstrip('\n') %}"
        "{%- endif %}"
        "{{- '<|im_start|>' + message.role + '\n' }}"
        "{%- if reasoning %}{{- '<think>\n' + reasoning + '\n</think>\n\n' }}{% endif %}"
        "{{- content }}" + _CALLS + "{{- '<|im_end|>\n' }}"
        "{%- endif %}{%- endfor %}{{- '<|im_start|>assistant\n' }}"
        "{%- if enable_thinking %}{{- '<think>\n' }}{%- endif %}",
    ),
    Family(
        # Names of properties become tags of their own.
        "qwen-coder",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        ("<think>", "</think>", "<tool_call>", "</tool_call>"),
        "{%- for tool in tools or [] %}{{- '\n<name>' ~ tool.function.name ~ '</name>' }}"
        "{{- '\n<description>' ~ (tool.function.description | trim) ~ '</description>' }}"
        "{%- for key, value in (tool.function.parameters.properties or {}).items() %}"
        "{{- '\n<' ~ key ~ '>' ~ (value | tojson | safe) ~ '</' ~ key ~ '>' }}{%- endfor %}{%- endfor %}"
        "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' + message.content }}"
        "{{- message.reasoning_content }}" + _CALLS + "{{- '<|im_end|>' + '\n' }}{%- endfor %}"
        "{{- '<|im_start|>assistant\n' }}",
    ),
    Family(
        "llama3",
        ("<|begin_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>"),
        (),
        "{{- bos_token }}{%- for message in messages %}"
        "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim }}"
        "{{- message.reasoning_content }}"
        "{%- for call in message.tool_calls or [] %}{{- '<|python_tag|>' }}"
        '{"name": {{ call.function.name | tojson }}, "parameters": {{ call.function.arguments | tojson }}}'
        "{%- endfor %}{{- '<|eot_id|>' }}{%- endfor %}"
        "{%- for tool in tools or [] %}{{- tool | tojson(indent=4) }}{%- endfor %}"
        "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
    ),
    Family(
        "mistral",
        ("<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]"),
        ("[TOOL_RESULTS]",),
        "{%- for message in messages %}{%- if message.role in ['user', 'system'] %}"
        "{{- '[AVAILABLE_TOOLS][' }}{%- for tool in tools or [] %}{{- tool | tojson }}{%- endfor %}"
        "{{- '][/AVAILABLE_TOOLS]' }}{{- '[INST]' + message.content + '[/INST]' }}"
        "{%- elif message.role == 'tool' %}{{- '[TOOL_RESULTS]{\"content\": ' + message.content|tojson + '}' }}"
        "{%- else %}{{- message.content ~ message.reasoning_content ~ '[TOOL_CALLS][' }}"
        "{%- for call in message.tool_calls or [] %}"
        '{{- \'{"name": \' ~ call.function.name | tojson }}'
        '{{ \', "arguments": \' ~ call.function.arguments | tojson ~ "}" }}'
        "{%- endfor %}{{- '][/INST]' + '</s>' }}{%- endif %}{%- endfor %}",
    ),
    Family(
        "gemma",
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>"),
        ("\n\n", "  ", "<table>", "</table>", "<b>"),
        "{%- for message in messages %}{%- set role = 'model' if message.role == 'assistant' else message.role %}"
        "{{ '<start_of_turn>' + role + '\n' }}{%- if loop.first %}" + _TOOLS + "{%- endif %}"
        "{{ message.content | trim }}{{ message.reasoning_content }}" + _CALLS + "{{ '<end_of_turn>\n' }}{%- endfor %}"
        "{{ '<start_of_turn>model\n' }}",
    ),
    Family(
        # The tag of a role is made of the role.
        "glm",
        ("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|observation|>"),
        ("<think>", "</think>", "<tool_call>", "</tool_call>"),
        "[gMASK]<sop>{%- for message in messages -%}<|{{ message.role }}|>\n{{ message.content }}"
        "{% if message.reasoning_content %}<think>{{ message.reasoning_content.strip() }}</think>{% endif %}" + _CALLS +
        "{%- endfor %}" + _TOOLS + "<|assistant|>\n",
    ),
    Family(
        "deepseek",
        ("<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
        ("<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>", "<\uff5ctool\u2581sep\uff5c>", "<think>", "</think>"),
        "{%- set ns = namespace(system='') %}{%- for message in messages %}{%- if message.role == 'system' %}"
        "{%- set ns.system = ns.system + message.content %}{%- endif %}{%- endfor %}{{ ns.system }}" + _TOOLS +
        "{%- for message in messages %}{%- if message.role == 'user' %}{{ '<\uff5cUser\uff5c>' ~ message.content }}"
        "{%- elif message.role == 'tool' %}{{ '<\uff5ctool\u2581sep\uff5c>' ~ message.content }}"
        "{%- elif message.role == 'assistant' %}"
        "{%- set content = message.content.split('</think>')[-1] %}{{ '<\uff5cAssistant\uff5c>' ~ content }}"
        "{{ message.reasoning_content }}" + _CALLS + "{{ '<\uff5cend\u2581of\u2581sentence\uff5c>' }}{%- endif %}"
        "{%- endfor %}{{ '<\uff5cAssistant\uff5c><think>\n' }}",
    ),
    Family(
        "kimi",
        ("[BOS]", "[EOS]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>"),
        ("<|tool_calls_section_begin|>",),
        "{%- for message in messages %}"
        "{%- set name = message.get('name') or message['role'] %}"
        "{{ '<|im_' ~ ('system' if message['role'] == 'tool' else message['role']) ~ '|>' }}{{ name }}<|im_middle|>"
        "{{ message['content'] }}{{ message.reasoning_content }}" + _CALLS + "<|im_end|>{%- endfor %}" + _TOOLS +
        "<|im_assistant|>assistant<|im_middle|>",
    ),
    Family(
        "harmony",
        ("<|start|>", "<|end|>", "<|message|>", "<|constrain|>", "<|return|>", "<|call|>", "<|endoftext|>"),
        (),
        "{{- '<|start|>system<|message|>' }}" + _TOOLS + "{{- '<|end|>' }}{%- for message in messages %}"
        "{%- if message.role == 'tool' %}{{- '<|start|>functions.' ~ message.name }}"
        "{{- ' to=assistant<|message|>' }}"
        "{%- else %}{{- '<|start|>' + message.role + '<|message|>' }}{%- endif %}"
        "{{- message.content }}{{- message.reasoning_content }}" + _CALLS + "{{- '<|end|>' }}{%- endfor %}"
        "{{- '<|start|>assistant' }}",
    ),
)  # fmt: skip
