"""
The words of BoringSSL, Envoy's library, for what OpenSSL has other words for.

Who looks for TLSV1_ALERT_UNKNOWN_CA in a log finds it whichever proxy wrote it.
The words for alerts are those of OpenSSL before 3.2, too (ssl.h: SSL_R_...).
"""

from __future__ import annotations

#: An alert of the peer is this and its number (RFC 8446, 6) as a reason of OpenSSL.
_ALERT = 1000
#: The reason in a packed number (err.h: ERR_REASON_MASK).
_REASON = 0x7FFFFF

#: Alerts that SSL 3 had are called after it, the later ones after TLS 1.
_ALERTS = {
    0: "SSLV3_ALERT_CLOSE_NOTIFY",
    10: "SSLV3_ALERT_UNEXPECTED_MESSAGE",
    20: "SSLV3_ALERT_BAD_RECORD_MAC",
    21: "TLSV1_ALERT_DECRYPTION_FAILED",
    22: "TLSV1_ALERT_RECORD_OVERFLOW",
    30: "SSLV3_ALERT_DECOMPRESSION_FAILURE",
    40: "SSLV3_ALERT_HANDSHAKE_FAILURE",
    41: "SSLV3_ALERT_NO_CERTIFICATE",
    42: "SSLV3_ALERT_BAD_CERTIFICATE",
    43: "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    44: "SSLV3_ALERT_CERTIFICATE_REVOKED",
    45: "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    46: "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    47: "SSLV3_ALERT_ILLEGAL_PARAMETER",
    48: "TLSV1_ALERT_UNKNOWN_CA",
    49: "TLSV1_ALERT_ACCESS_DENIED",
    50: "TLSV1_ALERT_DECODE_ERROR",
    51: "TLSV1_ALERT_DECRYPT_ERROR",
    60: "TLSV1_ALERT_EXPORT_RESTRICTION",
    70: "TLSV1_ALERT_PROTOCOL_VERSION",
    71: "TLSV1_ALERT_INSUFFICIENT_SECURITY",
    80: "TLSV1_ALERT_INTERNAL_ERROR",
    86: "TLSV1_ALERT_INAPPROPRIATE_FALLBACK",
    90: "TLSV1_ALERT_USER_CANCELLED",
    100: "TLSV1_ALERT_NO_RENEGOTIATION",
    110: "TLSV1_ALERT_UNSUPPORTED_EXTENSION",
    111: "TLSV1_ALERT_CERTIFICATE_UNOBTAINABLE",
    112: "TLSV1_ALERT_UNRECOGNIZED_NAME",
    113: "TLSV1_ALERT_BAD_CERTIFICATE_STATUS_RESPONSE",
    114: "TLSV1_ALERT_BAD_CERTIFICATE_HASH_VALUE",
    115: "TLSV1_ALERT_UNKNOWN_PSK_IDENTITY",
    116: "TLSV1_ALERT_CERTIFICATE_REQUIRED",
    120: "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
}

#: Other words for the same, from OpenSSL's.
_SAME = {
    "NO_SUITABLE_KEY_SHARE": "NO_SHARED_GROUP",
    "NO_SUITABLE_GROUPS": "NO_SHARED_GROUP",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "NO_COMMON_SIGNATURE_ALGORITHMS",
}


def envoy_word(code: int, reason: str) -> str:
    """Return the word in Envoy's logs for an error of TLS: OpenSSL's packed number, and its text."""
    alert = _ALERTS.get((code & _REASON) - _ALERT)
    if alert is not None:
        return alert
    word = reason.upper().replace(" ", "_")
    return _SAME.get(word, word)
