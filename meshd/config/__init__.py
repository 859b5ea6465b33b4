"""
From the text of a config to a Bootstrap message that can be served.

Read load.py first: it is the way through the others.  nodes.py (and
json_text.py for JSON that is no YAML) makes values that know their line and
column, with the environment put in (env.py).  short.py turns the short form to
v3 (spellings.py: single messages).  lenient.py fills the message as Envoy
would (scalars.py: single fields; types.py: messages by name).  check.py walks
the message: the rules that Envoy's descriptors carry (rules.py) and what meshd
serves (served.py); references.py looks at what goes across messages, advice.py
for what is hardly meant.  What is wrong is gathered on the way (errors.py) and
told all at once, with places.

unpack.py goes from a filter's typed_config to its plugin and config, an attrs
class by records.py.  supported.py writes the documentation of what is served.
plain.py is for those who read the messages: durations and the like to plain
Python.  runtime.py holds the values that an operator changes while meshd runs.
"""
