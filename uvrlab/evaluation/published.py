"""The tables of the GVE paper (arXiv 2510.27571) as it prints them, defects and all: UVRB scores of 16 models and the ablation.

Numbers only: which of them disagree with each other, and with the text, findings.py works out.
"""

from __future__ import annotations

CLIP = ("CLIP4Clip", "ViCLIP", "VideoCLIP-XL", "LanguageBind", "InternVideo2-1B", "InternVideo2-6B")
MLLM = ("GME-2B", "Unite-2B", "VLM2Vec-V2", "BGE-VL", "UniME-7B", "B3-7B", "GME-7B", "Unite-7B")
GVE_I = ("GVE-i-3B", "GVE-i-7B")  # the ablation models without UVRD and curriculum; Fig. 7 and 8 count them as MLLM-type

Scores = dict[str, dict[str, float]]  # model -> column -> share in [0, 1]


def _table(text: str) -> Scores:
    header, *rows = (line.split() for line in text.strip().splitlines())
    return {row[0]: dict(zip(header[1:], map(float, row[1:]), strict=True)) for row in rows}


ABILITIES = _table("""
model           AVG_D AVG_A TXT CMP VIS CG FG LC S T PR
CLIP4Clip       .390 .416 .401 .178 .714 .380 .360 .463 .559 .285 .236
ViCLIP          .352 .375 .336 .263 .640 .380 .315 .313 .484 .289 .171
VideoCLIP-XL    .491 .510 .550 .227 .632 .558 .493 .600 .787 .381 .310
LanguageBind    .487 .508 .543 .231 .645 .539 .479 .610 .723 .378 .336
InternVideo2-1B .404 .420 .422 .248 .581 .480 .403 .383 .606 .413 .189
InternVideo2-6B .427 .445 .448 .220 .660 .504 .417 .423 .631 .400 .220
GME-2B          .488 .416 .539 .345 .597 .461 .471 .685 .716 .349 .347
Unite-2B        .480 .507 .536 .242 .654 .455 .471 .681 .725 .347 .341
VLM2Vec-V2      .508 .538 .587 .263 .613 .498 .502 .762 .809 .348 .348
BGE-VL          .443 .480 .497 .268 .622 .448 .406 .636 .664 .292 .261
UniME-7B        .521 .542 .561 .308 .702 .500 .518 .664 .785 .396 .373
B3-7B           .511 .538 .570 .270 .678 .482 .505 .722 .797 .364 .355
GME-7B          .530 .562 .604 .341 .615 .518 .507 .788 .749 .373 .398
Unite-7B        .538 .559 .609 .254 .666 .541 .539 .746 .779 .412 .425
GVE-3B          .544 .571 .619 .304 .647 .552 .541 .764 .816 .430 .377
GVE-7B          .573 .600 .657 .312 .657 .587 .570 .814 .821 .469 .419
GVE-i-3B        .528 .558 .620 .237 .632 .532 .521 .808 .781 .402 .379
GVE-s-3B        .537 .564 .617 .301 .617 .539 .536 .775 .811 .421 .377
GVE-i-7B        .563 .587 .643 .274 .678 .567 .566 .795 .812 .459 .426
GVE-s-7B        .568 .594 .648 .313 .662 .576 .563 .804 .814 .458 .418
""")

DATASETS = _table("""
model           MSRVTT DiDeMo CRB-G CRB-S VDC-O CRB-T CMRB DREAM-E LoVR-TH PEV-K LoVR-V VDC-D MS-TI MS-TV MSRVTT-I2V LoVR-C2V
CLIP4Clip       .333 .297 .511 .497 .620 .289 .280 .191 .338 .179 .360 .566 .173 .183 .924 .503
ViCLIP          .386 .306 .447 .437 .530 .349 .229 .235 .202 .075 .230 .395 .283 .243 .846 .433
VideoCLIP-XL    .443 .403 .828 .839 .735 .487 .274 .263 .439 .229 .380 .820 .230 .223 .861 .403
LanguageBind    .479 .421 .716 .687 .759 .466 .290 .280 .425 .303 .540 .679 .228 .233 .827 .463
InternVideo2-1B .449 .404 .586 .568 .644 .470 .355 .242 .298 .026 .280 .485 .265 .230 .794 .368
InternVideo2-6B .485 .418 .608 .612 .650 .455 .346 .271 .302 .086 .330 .516 .235 .205 .868 .452
GME-2B          .390 .303 .690 .718 .715 .400 .298 .240 .446 .354 .530 .839 .350 .340 .827 .366
Unite-2B        .367 .298 .699 .723 .727 .409 .284 .223 .445 .355 .570 .792 .250 .233 .863 .445
VLM2Vec-V2      .330 .299 .828 .843 .775 .410 .286 .228 .492 .324 .610 .913 .275 .250 .841 .385
BGE-VL          .337 .318 .690 .688 .639 .359 .225 .212 .387 .184 .550 .722 .303 .233 .779 .465
UniME-7B        .351 .335 .815 .827 .743 .476 .317 .293 .504 .323 .480 .847 .310 .305 .867 .537
B3-7B           .282 .350 .815 .825 .768 .415 .312 .216 .462 .387 .590 .853 .275 .265 .884 .471
GME-7B          .436 .377 .740 .767 .731 .442 .304 .274 .523 .396 .710 .865 .348 .333 .860 .370
Unite-7B        .439 .386 .798 .804 .753 .472 .351 .279 .555 .440 .620 .871 .278 .230 .883 .448
GVE-3B          .431 .376 .850 .846 .786 .496 .363 .280 .522 .330 .610 .918 .340 .268 .891 .403
GVE-7B          .464 .433 .865 .847 .794 .539 .398 .302 .542 .413 .680 .948 .343 .280 .899 .415
""")

# Fig. 7, CLIP-type models, as printed: a row's cells stand under TXT, CMP, VIS, CG, FG, LC, S, T, up to its own column.
FIG7_COLUMNS = ("TXT", "CMP", "VIS", "CG", "FG", "LC", "S", "T", "PR")
FIG7_CLIP = {
    "CMP": (-0.26,),
    "VIS": (-0.20, -0.71),
    "CG": (0.99, -0.12, -0.29),
    "FG": (1.00, -0.26, -0.20, 0.99),
    "LC": (0.77, -0.49, 0.26, 0.70, 0.77),
    "S": (1.00, -0.26, -0.20, 0.99, 1.00, 0.77),
    "T": (0.43, 0.20, -0.60, 0.46, 0.43, -0.14, 0.43),
    "PR": (0.77, -0.49, 0.26, 0.70, 0.77, 1.00, 0.77, -0.14),
}

# Pairs of UVRD by task, in thousands (1.549 M in all).
UVRD_K = {"T2T": 100, "T2I": 210, "T2V": 879, "TI2V": 89, "TV2V": 35, "I2V": 200, "V2V": 36}
