"""Shift lessons 06..15 of the tree in cwd by two (06->08 ... 15->17)."""
import re, subprocess, sys
from pathlib import Path
R=Path.cwd()
new=lambda n: n if n<6 else n+2
def two(s): return f"{new(int(s)):02}"
def one(s): return str(new(int(s)))
files=subprocess.run(["git","ls-files"],capture_output=True,text=True,check=True).stdout.split("\n")
# 1. file names, from the top down
moves=[]
for f in files:
    m=re.fullmatch(r"(authoring/|authoring/claims\.d/|lessons/|solutions/)(\d\d)(_\w+\.(?:py|ipynb)|\.md)",f)
    if m: moves.append((f,m[1]+two(m[2])+m[3])); continue
    m=re.fullmatch(r"(ftcourse/exercises/lesson|tests/lessons/answers/lesson|tests/lessons/test_lesson)(\d\d)(\.py)",f)
    if m: moves.append((f,m[1]+two(m[2])+m[3]))
stems={m[1]:m[2] for f,_ in moves if (m:=re.fullmatch(r"authoring/(\d\d)_(\w+)\.py",f))}
for a,b in sorted(moves,reverse=True):
    if a!=b: subprocess.run(["git","mv",a,b],check=True)
# 2. texts
files=subprocess.run(["git","ls-files"],capture_output=True,text=True,check=True).stdout.split("\n")
for f in files:
    if not re.search(r"\.(py|md|rst|toml|cfg|yml|json)$|Makefile$",f) or f.startswith(("lessons/","solutions/")) : continue
    if f in ("CHANGELOG.md","constraints.txt") or f.startswith("benchmarks/results/") and not re.search(r"(carried|exercise_answers|reliability)\.(json|md)$",f): continue
    p=R/f; s=old=p.read_text(encoding="utf-8")
    for n,stem in stems.items(): s=re.sub(rf"(?<!\d){n}_{stem}\b", f"{two(n)}_{stem}", s)
    s=re.sub(r"\blesson(0[6-9]|1[0-5])\b", lambda m:"lesson"+two(m[1]), s)
    s=re.sub(r"\b([Ll]essons?\s+(?:#\s+)?)((?:0\d|1[0-5])(?:(?:,\s+|,?\s+and\s+|,?\s+or\s+|\s+to\s+|-|,?\s+then\s+)(?:#\s+)?(?:0\d|1[0-5])\b)*)",
             lambda m:m[1]+re.sub(r"\d\d",lambda k:two(k[0]),m[2]), s)
    s=re.sub(r'(opening\.show\(lesson=")(\d\d)', lambda m:m[1]+two(m[2]), s)
    if f.startswith("authoring/") : s=re.sub(r'(progress\.summary\(")(\d\d)', lambda m:m[1]+two(m[2]), s)
    if re.match(r"authoring/\d\d|authoring/claims\.d/|ftcourse/exercises/lesson|tests/lessons/answers/lesson|tests/lessons/test_lesson|docs/instructors|benchmarks/results|ftcourse/results",f):
        s=re.sub(r"\b([Ee]xercises?\s+(?:#\s+)?)(\d+)\.(\d)\b", lambda m:m[1]+one(m[2])+"."+m[3], s)
    if re.match(r"ftcourse/exercises/lesson",f):
        s=re.sub(r'(number=")(\d+)\.', lambda m:m[1]+one(m[2])+".", s)
    if re.match(r"tests/lessons/answers/lesson|tests/lessons/test_lesson|ftcourse/exercises/lesson",f):
        s=re.sub(r'(?m)^(# -{10,} )(\d+)\.(\d)', lambda m:m[1]+one(m[2])+"."+m[3], s)
        s=re.sub(r'"(\d\d?)\.([1-9])"(?=\s*[:\],])', lambda m:'"'+one(m[1])+"."+m[2]+'"', s)
    if f.startswith("authoring/"):
        s=re.sub(r"(?m)^(# # )(\d+)(\. )", lambda m:m[1]+one(m[2])+m[3], s)
        s=re.sub(r"(\*\*Next:\*\* \[?)(\d+)(\. )", lambda m:m[1]+one(m[2])+m[3], s)
    if f in ("README.md","docs/instructors.md"):
        s=re.sub(r"(?m)^(\| )(\d\d)( (?:\||[A-Z]))", lambda m:m[1]+two(m[2])+m[3], s)
    if re.search(r"results/carried\.json$",f):
        s=re.sub(r'"(\d\d)"(?=: \{)', lambda m:'"'+two(m[1])+'"', s)
    if re.search(r"results/(carried|exercise_answers)\.md$",f):
        s=re.sub(r"(?m)^(\| )(\d\d)( \|)", lambda m:m[1]+two(m[2])+m[3], s)
    if s!=old: p.write_text(s,encoding="utf-8"); 
print(len(moves),"moved")
