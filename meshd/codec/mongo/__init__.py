"""
The MongoDB wire protocol, read by one who only watches, and written by one who answers now and then.

framing.py     the stream of one direction, cut into messages
message.py     OP_MSG, which drivers have sent since MongoDB 3.6
legacy.py      the opcodes before it; OP_QUERY and OP_REPLY still begin each connection
compressed.py  OP_COMPRESSED, by zlib, snappy and zstd
wire.py        what a message is, whichever of these it belongs to; Decoder does all of it

BSON, which all of them carry, is read in place by meshd.codec.bson.  The rules
are those of the specifications at github.com/mongodb/specifications (OP_MSG,
compression) and of MongoDB's manual (Wire Protocol).
"""
