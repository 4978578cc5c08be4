"""
Datasets and venues, under the official client's member names and values.

Source: the official client's enumerations, compared by ``tests/unit/test_enums.py``.
"""

from __future__ import annotations

from typing import Self

from dbnfast.enums import NamedEnum


class _Coded(NamedEnum):
    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        # by name too, as the official client takes them
        name = str(value).replace(".", "_").replace("-", "_").upper()
        return cls.__members__.get(name) or super()._missing_(value)

    def to_int(self) -> int:
        """
        Give the integer code.

        Returns
        -------
        int
        """
        return int(self)


class Venue(_Coded):
    """A trading venue, by its code."""

    GLBX = (1, "GLBX")
    XNAS = (2, "XNAS")
    XBOS = (3, "XBOS")
    XPSX = (4, "XPSX")
    BATS = (5, "BATS")
    BATY = (6, "BATY")
    EDGA = (7, "EDGA")
    EDGX = (8, "EDGX")
    XNYS = (9, "XNYS")
    XCIS = (10, "XCIS")
    XASE = (11, "XASE")
    ARCX = (12, "ARCX")
    XCHI = (13, "XCHI")
    IEXG = (14, "IEXG")
    FINN = (15, "FINN")
    FINC = (16, "FINC")
    FINY = (17, "FINY")
    MEMX = (18, "MEMX")
    EPRL = (19, "EPRL")
    AMXO = (20, "AMXO")
    XBOX = (21, "XBOX")
    XCBO = (22, "XCBO")
    EMLD = (23, "EMLD")
    EDGO = (24, "EDGO")
    GMNI = (25, "GMNI")
    XISX = (26, "XISX")
    MCRY = (27, "MCRY")
    XMIO = (28, "XMIO")
    ARCO = (29, "ARCO")
    OPRA = (30, "OPRA")
    MPRL = (31, "MPRL")
    XNDQ = (32, "XNDQ")
    XBXO = (33, "XBXO")
    C2OX = (34, "C2OX")
    XPHL = (35, "XPHL")
    BATO = (36, "BATO")
    MXOP = (37, "MXOP")
    IFEU = (38, "IFEU")
    NDEX = (39, "NDEX")
    DBEQ = (40, "DBEQ")
    SPHR = (41, "SPHR")
    LTSE = (42, "LTSE")
    XOFF = (43, "XOFF")
    ASPN = (44, "ASPN")
    ASMT = (45, "ASMT")
    ASPI = (46, "ASPI")
    EQUS = (47, "EQUS")
    IFUS = (48, "IFUS")
    IFLL = (49, "IFLL")
    XEUR = (50, "XEUR")
    XEEE = (51, "XEEE")
    XCBF = (52, "XCBF")
    OCEA = (53, "OCEA")
    MXTO = (54, "MXTO")
    IEXO = (55, "IEXO")
    MAIN = (56, "MAIN")
    TXSE = (57, "TXSE")
    _24EQ = (58, "24EQ")
    CTA = (59, "CTA")
    UTP = (60, "UTP")
    XADF = (61, "XADF")
    MSCI = (62, "MSCI")
    FTSE = (63, "FTSE")
    INAV = (64, "INAV")
    MSTAR = (65, "MSTAR")
    CCCY = (66, "CCCY")
    CGI = (67, "CGI")
    CDEF = (68, "CDEF")
    XTKS = (69, "XTKS")
    XTKT = (70, "XTKT")
    XOSE = (71, "XOSE")
    DBIX = (72, "DBIX")


class Dataset(_Coded):
    """A dataset, by its code."""

    GLBX_MDP3 = (1, "GLBX.MDP3")
    XNAS_ITCH = (2, "XNAS.ITCH")
    XBOS_ITCH = (3, "XBOS.ITCH")
    XPSX_ITCH = (4, "XPSX.ITCH")
    BATS_PITCH = (5, "BATS.PITCH")
    BATY_PITCH = (6, "BATY.PITCH")
    EDGA_PITCH = (7, "EDGA.PITCH")
    EDGX_PITCH = (8, "EDGX.PITCH")
    XNYS_PILLAR = (9, "XNYS.PILLAR")
    XCIS_PILLAR = (10, "XCIS.PILLAR")
    XASE_PILLAR = (11, "XASE.PILLAR")
    XCHI_PILLAR = (12, "XCHI.PILLAR")
    XCIS_BBO = (13, "XCIS.BBO")
    XCIS_TRADES = (14, "XCIS.TRADES")
    MEMX_MEMOIR = (15, "MEMX.MEMOIR")
    EPRL_DOM = (16, "EPRL.DOM")
    FINN_NLS = (17, "FINN.NLS")
    FINY_TRADES = (18, "FINY.TRADES")
    OPRA_PILLAR = (19, "OPRA.PILLAR")
    DBEQ_BASIC = (20, "DBEQ.BASIC")
    ARCX_PILLAR = (21, "ARCX.PILLAR")
    IEXG_TOPS = (22, "IEXG.TOPS")
    EQUS_PLUS = (23, "EQUS.PLUS")
    XNYS_BBO = (24, "XNYS.BBO")
    XNYS_TRADES = (25, "XNYS.TRADES")
    XNAS_QBBO = (26, "XNAS.QBBO")
    XNAS_NLS = (27, "XNAS.NLS")
    IFEU_IMPACT = (28, "IFEU.IMPACT")
    NDEX_IMPACT = (29, "NDEX.IMPACT")
    EQUS_ALL = (30, "EQUS.ALL")
    XNAS_BASIC = (31, "XNAS.BASIC")
    EQUS_SUMMARY = (32, "EQUS.SUMMARY")
    XCIS_TRADESBBO = (33, "XCIS.TRADESBBO")
    XNYS_TRADESBBO = (34, "XNYS.TRADESBBO")
    EQUS_MINI = (35, "EQUS.MINI")
    IFUS_IMPACT = (36, "IFUS.IMPACT")
    IFLL_IMPACT = (37, "IFLL.IMPACT")
    XEUR_EOBI = (38, "XEUR.EOBI")
    XEEE_EOBI = (39, "XEEE.EOBI")
    XCBF_PITCH = (40, "XCBF.PITCH")
    OCEA_MEMOIR = (41, "OCEA.MEMOIR")
    MAIN_CGIF = (42, "MAIN.CGIF")
    EQUS_SIP = (43, "EQUS.SIP")
    MSCI_CGIF = (44, "MSCI.CGIF")
    FTSE_CGIF = (45, "FTSE.CGIF")
    INAV_CGIF = (46, "INAV.CGIF")
    MSTAR_CGIF = (47, "MSTAR.CGIF")
    CCCY_CGIF = (48, "CCCY.CGIF")
    CGI_CGIF = (49, "CGI.CGIF")
    XTKS_FLEX = (50, "XTKS.FLEX")
    XTKT_ITCH = (51, "XTKT.ITCH")
    XOSE_ITCH = (52, "XOSE.ITCH")
    DBIX_CORE = (53, "DBIX.CORE")
