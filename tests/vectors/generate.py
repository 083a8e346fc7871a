"""Writes hashes.tsv: password hashes made by other software, with fixed salts.

    python3 -m venv target/vectors
    target/vectors/bin/pip install -r tests/vectors/requirements.txt
    target/vectors/bin/python tests/vectors/generate.py > tests/vectors/hashes.tsv

The same versions write the same bytes. Needs an `openssl` of 3.0 or later too, and
Python up to 3.12, for its module `crypt`.
"""

import warnings

warnings.filterwarnings("ignore")

import base64
import crypt
import hashlib
import ssl
import subprocess
import sys

import argon2
import bcrypt
import django
from argon2.low_level import Type, hash_secret
from django.conf import settings
from importlib.metadata import version

# passlib asks bcrypt for a version that it has in another place now.
bcrypt.__about__ = type("about", (), {"__version__": bcrypt.__version__})
import passlib
from passlib.hash import argon2 as passlib_argon2
from passlib.hash import pbkdf2_sha256, pbkdf2_sha512, scrypt

settings.configure()
django.setup()
from django.contrib.auth import hashers

ASCII = "correct horse battery staple"
# Composed (NFC), with four bytes in the last character.
ACCENTS = "Zo\u00eb's caf\u00e9 \u65e5\u672c\u8a9e \U0001f512"
# Exactly what bcrypt reads: 72 bytes, the last two of them one character.
LONGEST = "0123456789" * 7 + "\u00e9"
# Longer than a block of SHA-512, and than bcrypt reads.
LONG = "a passphrase that goes on and on, " * 6
PASSWORDS = [ASCII, ACCENTS, LONGEST, LONG]

SALT = b"sixteen bytes ok"
TEXT_SALT = "n7rF2xQz1LkVd8sYbWc0aT"


def row(software, scheme, password, stored):
    if isinstance(stored, bytes):
        stored = stored.decode()
    print(software, scheme, password.encode().hex(), stored, sep="\t")


def b64(data):
    return base64.b64encode(data).decode().rstrip("=")


def argon2_cffi():
    name = f"argon2-cffi {argon2.__version__} (bindings {version('argon2-cffi-bindings')})"
    for kind in Type:
        for number in (16, 19):
            for password in PASSWORDS:
                stored = hash_secret(password.encode(), SALT, 2, 256, 2, 32, kind, number)
                row(name, f"{kind.name}-{number}", password, stored)
    # Lengths of tags that are about, and today's cost.
    for length in (16, 64):
        stored = hash_secret(ASCII.encode(), b"somesalt", 1, 64, 1, length, Type.I, 19)
        row(name, f"I-19, tag of {length}", ASCII, stored)
    row(name, "ID-19, low memory", ASCII, hash_secret(ASCII.encode(), SALT, 3, 65536, 4, 32, Type.ID, 19))
    row(name, "ID-19, default here", ASCII, hash_secret(ASCII.encode(), SALT, 2, 19456, 1, 32, Type.ID, 19))


def py_bcrypt():
    name = f"bcrypt {bcrypt.__version__}"
    for prefix in ("2a", "2b"):
        for password in PASSWORDS[:3] + [""]:
            salt = bcrypt.gensalt(5, prefix.encode())[:7] + b"CCCCCCCCCCCCCCCCCCCCC."
            row(name, prefix, password, bcrypt.hashpw(password.encode(), salt))
    row(name, "2b, cost 12", ASCII, bcrypt.hashpw(ASCII.encode(), b"$2b$12$N9qo8uLOickgx2ZMRZoMye"))


def system_crypt():
    """crypt_blowfish, whose name for the sound function is $2y$; PHP has the same."""
    name = f"libcrypt of the system, by Python {sys.version.split()[0]}"
    for prefix in ("2a", "2b", "2y"):
        for password in PASSWORDS[:3]:
            row(name, prefix, password, crypt.crypt(password, f"${prefix}$05$N9qo8uLOickgx2ZMRZoMye"))


def py_passlib():
    name = f"passlib {passlib.__version__}"
    for password in PASSWORDS:
        # A salt whose base64 has both of the characters that spellings differ in.
        salt = bytes.fromhex("fbefbefffeffbfdeadbeef0123456789")
        row(name, "pbkdf2-sha256", password, pbkdf2_sha256.using(salt=salt, rounds=1000).hash(password))
        row(name, "pbkdf2-sha512", password, pbkdf2_sha512.using(salt=salt, rounds=1000).hash(password))
        row(name, "scrypt", password, scrypt.using(salt=salt, rounds=8, block_size=4, parallelism=2).hash(password))
        stored = passlib_argon2.using(salt=salt, type="I", rounds=1, memory_cost=64, parallelism=1)
        row(name, "argon2i", password, stored.hash(password))
    row(name, "pbkdf2-sha256, default", ASCII, pbkdf2_sha256.using(salt=SALT).hash(ASCII))
    row(name, "pbkdf2-sha512, default", ASCII, pbkdf2_sha512.using(salt=SALT).hash(ASCII))
    row(name, "scrypt, default", ASCII, scrypt.using(salt=SALT).hash(ASCII))


def py_django():
    name = f"Django {django.__version__}"

    class Few(hashers.PBKDF2PasswordHasher):
        iterations = 1000

    class Few512(hashers.PBKDF2PasswordHasher):
        algorithm = "pbkdf2_sha512"
        digest = hashlib.sha512
        iterations = 1000

    class FewScrypt(hashers.ScryptPasswordHasher):
        work_factor = 256

    class FewArgon2(hashers.Argon2PasswordHasher):
        time_cost, memory_cost, parallelism = 1, 64, 2

    for password in PASSWORDS:
        row(name, "pbkdf2_sha256", password, Few().encode(password, TEXT_SALT))
        row(name, "pbkdf2_sha512, a subclass", password, Few512().encode(password, TEXT_SALT))
        row(name, "scrypt", password, FewScrypt().encode(password, TEXT_SALT))
        row(name, "argon2", password, FewArgon2().encode(password, TEXT_SALT))
        row(name, "bcrypt_sha256", password, hashers.BCryptSHA256PasswordHasher().encode(
            password, b"$2b$05$N9qo8uLOickgx2ZMRZoMye"))
    for password in PASSWORDS[:3]:
        row(name, "bcrypt", password, hashers.BCryptPasswordHasher().encode(
            password, b"$2b$05$N9qo8uLOickgx2ZMRZoMye"))
    row(name, "pbkdf2_sha256, default", ASCII, hashers.PBKDF2PasswordHasher().encode(ASCII, TEXT_SALT))
    row(name, "scrypt, default", ASCII, hashers.ScryptPasswordHasher().encode(ASCII, TEXT_SALT))
    row(name, "argon2, default", ASCII, hashers.Argon2PasswordHasher().encode(ASCII, TEXT_SALT))
    # Of Django 1.10: Argon2i of the first version, which is not written into the string.
    old = hash_secret(ASCII.encode(), SALT, 2, 512, 2, 16, Type.I, 16).decode().replace("$v=16", "")
    row(f"argon2-cffi {argon2.__version__}, as Django 1.10", "argon2", ASCII, "argon2" + old)


def py_hashlib():
    name = f"hashlib of Python {sys.version.split()[0]}, {ssl.OPENSSL_VERSION}"
    for password in PASSWORDS:
        for digest, length in (("sha256", 32), ("sha512", 64), ("sha512", 32)):
            tag = hashlib.pbkdf2_hmac(digest, password.encode(), SALT, 1000, length)
            stored = f"$pbkdf2-{digest}$i=1000,l={length}${b64(SALT)}${b64(tag)}"
            row(name, f"pbkdf2-{digest}", password, stored)
        tag = hashlib.scrypt(password.encode(), salt=SALT, n=256, r=8, p=1, dklen=32)
        row(name, "scrypt", password, f"$scrypt$ln=8,r=8,p=1${b64(SALT)}${b64(tag)}")
    tag = hashlib.scrypt(ASCII.encode(), salt=SALT, n=1 << 17, r=8, p=1, maxmem=1 << 28, dklen=32)
    row(name, "scrypt, OWASP's cost", ASCII, f"$scrypt$ln=17,r=8,p=1${b64(SALT)}${b64(tag)}")


def openssl_kdf():
    run = lambda *words: subprocess.run(("openssl",) + words, check=True, capture_output=True).stdout
    name = " ".join(run("version").decode().split()[:2])

    def kdf(password, kind, *options):
        options = [f"hexpass:{password.encode().hex()}", f"hexsalt:{SALT.hex()}", *options]
        words = [word for option in options for word in ("-kdfopt", option)]
        return run("kdf", "-keylen", "32", "-binary", *words, kind)

    for password in PASSWORDS:
        tag = kdf(password, "PBKDF2", "digest:SHA256", "iter:1000")
        row(name, "pbkdf2-sha256", password, f"$pbkdf2-sha256$i=1000${b64(SALT)}${b64(tag)}")
        tag = kdf(password, "SCRYPT", "n:256", "r:8", "p:3")
        row(name, "scrypt", password, f"$scrypt$ln=8,r=8,p=3${b64(SALT)}${b64(tag)}")


print("# Made by generate.py: software, scheme, password (UTF-8 in hexadecimal), stored hash.")
argon2_cffi()
py_bcrypt()
system_crypt()
py_passlib()
py_django()
py_hashlib()
openssl_kdf()
