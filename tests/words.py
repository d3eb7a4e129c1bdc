"""The words of the tiny models' texts."""

CORPUS = [
    "win a free prize now call the number below",
    "are you coming home for dinner tonight",
    "the cat sat on the mat and the dog ran away",
    "urgent your account will be closed reply stop",
    "see you tomorrow at the office ok bye",
    "0123456789 !?.,;:-()[]'\"",
]

# The vocabulary that WordPiece learns of them. Learnt anew it would be another one in each process, since the library's
# hash maps break ties, and so would be every figure of a tiny model.
PIECES = r"""
[PAD] [UNK] [CLS] [SEP] [MASK] ! " ' ( ) , - . 0 1 2 3 4 5 6 7 8 9 : ; ? [ ] a b c d e f g h i k l m n o p r s t u w
y z ##1 ##2 ##3 ##4 ##5 ##6 ##7 ##8 ##9 ##r ##e ##t ##o ##p ##i ##n ##l ##w ##a ##u ##g ##d ##y ##f ##c ##m ##h ##k
##z ##s ##b th the ##ou you ##ow ##om ##in ##at be ##re ##er ##or ##nt ##ll 01 at an aw ac are by cl ca com cat do
din fre for hom mat nu now on of ok pr re ra se st sat to tom ur wi win ##23 ##45 ##67 ##89 ##row ##ed ##ent ##op
##os ##pl ##ig ##ic ##iz ##ner ##nig ##low ##ay ##gent ##fic ##cou ##mb ##ht your ##ing below ##orrow 0123 and away
accou bye clos call coming dog dinner free home numb offic priz repl ran see stop tonig tomorrow urgent will ##4567
01234567 account closed number office prize reply tonight 0123456789
""".split()  # noqa: SIM905 - a list would take a line for each piece.
