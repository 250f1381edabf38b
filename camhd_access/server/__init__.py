"""The web server: frames of an archive's movies as pictures, for programs and for people."""
