"""
Distinguished and alternative names as texts, letter by letter as Envoy has them.

name_text is BoringSSL's X509_NAME_print_ex with XN_FLAG_RFC2253: the last part
first, special characters escaped, bytes above ASCII as hexadecimal of their
UTF-8, attributes of no known name as ``OID=#DER``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshd.tls import der

# The short names that BoringSSL knows of attributes that occur in certificates: those of X.520 ...
_X520 = (
    "CN SN serialNumber C L ST street O OU title description searchGuide businessCategory postalAddress "
    "postalCode postOfficeBox physicalDeliveryOfficeName telephoneNumber telexNumber "
    "teletexTerminalIdentifier facsimileTelephoneNumber x121Address internationaliSDNNumber "
    "registeredAddress destinationIndicator preferredDeliveryMethod presentationAddress "
    "supportedApplicationContext member owner roleOccupant seeAlso userPassword userCertificate "
    "cACertificate authorityRevocationList certificateRevocationList crossCertificatePair name GN initials "
    "generationQualifier x500UniqueIdentifier dnQualifier enhancedSearchGuide protocolInformation "
    "distinguishedName uniqueMember houseIdentifier supportedAlgorithms deltaRevocationList dmdName"
)
# ... and of the COSINE pilot (RFC 4524) and PKCS #9.  Those of extended validation are not among them.
_PILOT = "0.9.2342.19200300.100.1"
_PKCS9 = "1.2.840.113549.1.9"
_SHORT_NAMES = {
    **{f"2.5.4.{number}": name for number, name in enumerate(_X520.split(), 3)},
    "2.5.4.65": "pseudonym",
    "2.5.4.72": "role",
    f"{_PILOT}.1": "UID",
    f"{_PILOT}.3": "mail",
    f"{_PILOT}.4": "info",
    f"{_PILOT}.6": "roomNumber",
    f"{_PILOT}.8": "userClass",
    f"{_PILOT}.9": "host",
    f"{_PILOT}.25": "DC",
    f"{_PILOT}.37": "associatedDomain",
    f"{_PILOT}.40": "personalTitle",
    f"{_PKCS9}.1": "emailAddress",
    f"{_PKCS9}.2": "unstructuredName",
    f"{_PKCS9}.7": "challengePassword",
    f"{_PKCS9}.8": "unstructuredAddress",
    f"{_PKCS9}.20": "friendlyName",
}

_CODECS = {
    der.UTF8: "utf-8",
    der.NUMERIC: "latin-1",
    der.PRINTABLE: "latin-1",
    der.T61: "latin-1",
    der.IA5: "latin-1",
    der.VISIBLE: "latin-1",
    der.UNIVERSAL: "utf-32-be",
    der.BMP: "utf-16-be",
}


def name_text(name: bytes) -> str:
    """Return a distinguished name (DER) by RFC 2253: CN=me,O=meshd; raise ValueError if it is none."""
    shown = []
    for part in reversed(list(der.elements(der.read(name).content))):
        pairs = [_attribute(der.read(pair.content), pair.content) for pair in der.elements(part.content)]
        shown.append("+".join(reversed(pairs)))
    return ",".join(shown)


def _attribute(kind: der.Element, content: bytes) -> str:
    value = der.read(content, len(kind.encoded))
    dotted = der.dotted(kind.content)
    if dotted not in _SHORT_NAMES:
        return f"{dotted}=#{value.encoded.hex().upper()}"
    return f"{_SHORT_NAMES[dotted]}={_value(value)}"


def _value(value: der.Element) -> str:
    codec = _CODECS.get(value.tag)
    if codec is None:
        return f"#{value.encoded.hex().upper()}"
    return _escaped(value.content.decode(codec, "replace"))


def _escaped(text: str) -> str:
    """Return text with what RFC 2253, 2.4 escapes, control characters and all above ASCII escaped."""
    shown = []
    last = len(text) - 1
    for index, character in enumerate(text):
        if (
            character in ',+"\\<>;'
            or (character in "# " and index == 0)
            or (character == " " and index == last)
        ):
            shown.append("\\" + character)
        elif " " <= character <= "~":
            shown.append(character)
        else:
            shown += (f"\\{byte:02X}" for byte in character.encode("utf-8"))
    return "".join(shown)


def other_name_text(value: bytes) -> str:
    """
    Return the value (DER) of an otherName as text, "" if it is of no kind that has one.

    As in Envoy numbers are decimal, strings as they are, sequences all of their DER.
    """
    try:
        element = der.read(value)
        shown = _KINDS.get(element.tag)
        return "" if shown is None else shown(element)
    except ValueError:
        return ""


def _number(element: der.Element) -> str:
    return str(int.from_bytes(element.content, "big", signed=True))


def _text(element: der.Element) -> str:
    return element.content.decode(_CODECS.get(element.tag, "utf-8"), "replace")


_KINDS: Mapping[int, Callable[[der.Element], str]] = {
    der.BOOLEAN: lambda element: "true" if any(element.content) else "false",
    der.INTEGER: _number,
    der.ENUMERATED: _number,
    der.OBJECT: lambda element: der.dotted(element.content),
    der.BIT_STRING: lambda element: _text(element._replace(content=element.content[1:])),
    **dict.fromkeys((der.SEQUENCE, der.SET), lambda element: element.encoded.decode("utf-8", "replace")),
    **dict.fromkeys((der.OCTET_STRING, *_CODECS, *der.OTHER_TEXT), _text),
    der.NUMERIC: lambda element: "",  # Envoy forgets it.
}
