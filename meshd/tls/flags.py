"""
OpenSSL's options by name.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Bits of SSL_OP_* by name, without the prefix (ssl.h of OpenSSL 3 and 4).
OPTIONS: Mapping[str, int] = {
    "NO_EXTENDED_MASTER_SECRET": 1 << 0,
    "CLEANSE_PLAINTEXT": 1 << 1,
    "LEGACY_SERVER_CONNECT": 1 << 2,
    "ENABLE_KTLS": 1 << 3,
    "TLSEXT_PADDING": 1 << 4,
    "SAFARI_ECDHE_ECDSA_BUG": 1 << 6,
    "IGNORE_UNEXPECTED_EOF": 1 << 7,
    "ALLOW_CLIENT_RENEGOTIATION": 1 << 8,
    "DISABLE_TLSEXT_CA_NAMES": 1 << 9,
    "ALLOW_NO_DHE_KEX": 1 << 10,
    "DONT_INSERT_EMPTY_FRAGMENTS": 1 << 11,
    "NO_QUERY_MTU": 1 << 12,
    "COOKIE_EXCHANGE": 1 << 13,
    "NO_TICKET": 1 << 14,
    "CISCO_ANYCONNECT": 1 << 15,
    "NO_SESSION_RESUMPTION_ON_RENEGOTIATION": 1 << 16,
    "NO_COMPRESSION": 1 << 17,
    "ALLOW_UNSAFE_LEGACY_RENEGOTIATION": 1 << 18,
    "NO_ENCRYPT_THEN_MAC": 1 << 19,
    "ENABLE_MIDDLEBOX_COMPAT": 1 << 20,
    "PRIORITIZE_CHACHA": 1 << 21,
    "CIPHER_SERVER_PREFERENCE": 1 << 22,
    "TLS_ROLLBACK_BUG": 1 << 23,
    "NO_ANTI_REPLAY": 1 << 24,
    "NO_SSLv3": 1 << 25,
    "NO_TLSv1": 1 << 26,
    "NO_TLSv1_2": 1 << 27,
    "NO_TLSv1_1": 1 << 28,
    "NO_TLSv1_3": 1 << 29,
    "NO_DTLSv1": 1 << 26,
    "NO_DTLSv1_2": 1 << 27,
    "NO_RENEGOTIATION": 1 << 30,
    "CRYPTOPRO_TLSEXT_BUG": 1 << 31,
    "ALL": 0x80000850,
    # These have been of no effect for long, and are 0 in ssl.h.
    **dict.fromkeys(
        (
            "MICROSOFT_SESS_ID_BUG NETSCAPE_CHALLENGE_BUG NETSCAPE_REUSE_CIPHER_CHANGE_BUG"
            " SSLREF2_REUSE_CERT_TYPE_BUG MICROSOFT_BIG_SSLV3_BUFFER SSLEAY_080_CLIENT_DH_BUG"
            " MSIE_SSLV2_RSA_PADDING TLS_D5_BUG TLS_BLOCK_PADDING_BUG SINGLE_ECDH_USE SINGLE_DH_USE"
            " EPHEMERAL_RSA NETSCAPE_CA_DN_BUG NETSCAPE_DEMO_CIPHER_CHANGE_BUG PKCS1_CHECK_1"
            " PKCS1_CHECK_2 NO_SSLv2"
        ).split(),
        0,
    ),
}
