"""
Publishers, datasets and venues: who published a record, by ``publisher_id``.

A publisher's name is its dataset, a dot, and its venue. Id 0 is used by the gateway's own
records (error, system, symbol mapping) and means no publisher.

Source: the official client's tables, compared by ``tests/unit/test_publishers.py``.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Publisher(NamedTuple):
    """
    A data source: one venue's data as one dataset carries it.

    Attributes
    ----------
    id : int
        The ``publisher_id`` of record headers.
    dataset : str
        The dataset code.
    venue : str
        The venue code.
    """

    id: int
    dataset: str
    venue: str

    @property
    def name(self) -> str:
        """Dataset and venue, joined by a dot; of an unknown publisher its id."""
        return f"{self.dataset}.{self.venue}" if self.dataset else f"{self.id}"

    @property
    def value(self) -> str:
        """The same as `name`, under the official client's name."""
        return self.name

    def __str__(self) -> str:
        """Give the name."""
        return self.name

    def to_int(self) -> int:
        """
        Give the id.

        Returns
        -------
        int
        """
        return self.id

    @classmethod
    def from_int(cls, value: int) -> Publisher:
        """
        Find a publisher by its id.

        Parameters
        ----------
        value : int
            The ``publisher_id`` of record headers.

        Returns
        -------
        Publisher
            Of an id that is not known, one without dataset and venue: a new publisher is no error.
        """
        return PUBLISHERS.get(value) or cls(value, "", "")


# dataset: the ids and venues of its publishers
_TABLE: Final = """
GLBX.MDP3 1:GLBX
XNAS.ITCH 2:XNAS
XBOS.ITCH 3:XBOS
XPSX.ITCH 4:XPSX
BATS.PITCH 5:BATS
BATY.PITCH 6:BATY
EDGA.PITCH 7:EDGA
EDGX.PITCH 8:EDGX
XNYS.PILLAR 9:XNYS
XCIS.PILLAR 10:XCIS
XASE.PILLAR 11:XASE
XCHI.PILLAR 12:XCHI
XCIS.BBO 13:XCIS
XCIS.TRADES 14:XCIS
MEMX.MEMOIR 15:MEMX
EPRL.DOM 16:EPRL
XNAS.NLS 17:FINN 18:FINC 47:XNAS 86:XBOS 87:XPSX
XNYS.TRADES 19:FINY 45:XNYS 96:EQUS
OPRA.PILLAR 20:AMXO 21:XBOX 22:XCBO 23:EMLD 24:EDGO 25:GMNI 26:XISX 27:MCRY 28:XMIO 29:ARCO
OPRA.PILLAR 30:OPRA 31:MPRL 32:XNDQ 33:XBXO 34:C2OX 35:XPHL 36:BATO 37:MXOP 61:SPHR 108:MXTO
OPRA.PILLAR 109:IEXO
IEXG.TOPS 38:IEXG
DBEQ.BASIC 39:XCHI 40:XCIS 41:IEXG 42:EPRL 59:DBEQ
ARCX.PILLAR 43:ARCX
XNYS.BBO 44:XNYS
XNAS.QBBO 46:XNAS
EQUS.PLUS 48:XCHI 49:XCIS 50:IEXG 51:EPRL 52:XNAS 53:XNYS 54:FINN 55:FINY 56:FINC 60:EQUS
IFEU.IMPACT 57:IFEU 84:XOFF
NDEX.IMPACT 58:NDEX 85:XOFF
EQUS.ALL 62:XCHI 63:XCIS 64:IEXG 65:EPRL 66:XNAS 67:XNYS 68:FINN 69:FINY 70:FINC 71:BATS
EQUS.ALL 72:BATY 73:EDGA 74:EDGX 75:XBOS 76:XPSX 77:MEMX 78:XASE 79:ARCX 80:LTSE 94:EQUS
XNAS.BASIC 81:XNAS 82:FINN 83:FINC 88:XBOS 89:XPSX 93:EQUS
EQUS.SUMMARY 90:EQUS
XCIS.TRADESBBO 91:XCIS
XNYS.TRADESBBO 92:XNYS
EQUS.MINI 95:EQUS
IFUS.IMPACT 97:IFUS 98:XOFF
IFLL.IMPACT 99:IFLL 100:XOFF
XEUR.EOBI 101:XEUR 103:XOFF
XEEE.EOBI 102:XEEE 104:XOFF
XCBF.PITCH 105:XCBF 106:XOFF
OCEA.MEMOIR 107:OCEA
MAIN.CGIF 110:MAIN 142:CDEF
EQUS.SIP 111:XASE 112:XBOS 113:XCIS 114:TXSE 115:24EQ 116:EPRL 117:XISX 118:EDGA 119:EDGX 120:LTSE
EQUS.SIP 121:XCHI 122:XNYS 123:ARCX 124:XNAS 125:MEMX 126:IEXG 127:XPSX 128:BATY 129:BATS 130:FINN
EQUS.SIP 131:FINY 132:FINC 133:XADF 134:CTA 135:UTP
MSCI.CGIF 136:MSCI
FTSE.CGIF 137:FTSE
INAV.CGIF 138:INAV
MSTAR.CGIF 139:MSTAR
CCCY.CGIF 140:CCCY
CGI.CGIF 141:CGI
XTKS.FLEX 143:XTKS
XTKT.ITCH 144:XTKT
XOSE.ITCH 145:XOSE
DBIX.CORE 146:MAIN 147:MSCI 148:FTSE 149:INAV 150:MSTAR 151:CCCY 152:CGI 153:CDEF
"""

PUBLISHERS: Final[dict[int, Publisher]] = {
    int(number): Publisher(int(number), dataset, venue)
    for dataset, *pairs in (line.split() for line in _TABLE.strip().splitlines())
    for number, _, venue in (pair.partition(":") for pair in pairs)
}
for _publisher in PUBLISHERS.values():  # as the official enumeration has them
    setattr(Publisher, _publisher.name.replace(".", "_"), _publisher)
