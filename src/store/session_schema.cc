// SPDX-License-Identifier: Apache-2.0
#include "store/session_schema.h"

namespace autoglm::store {
namespace {

// AUTOINCREMENT where a number must never name two things: runs are named on command lines, notes in the index.
constexpr const char* kVersion1 = R"(
CREATE TABLE sessions(
  id TEXT NOT NULL PRIMARY KEY,
  title TEXT NOT NULL DEFAULT '',
  created INTEGER NOT NULL,
  changed INTEGER NOT NULL
) STRICT;
CREATE TABLE runs(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
  system TEXT NOT NULL,
  task TEXT NOT NULL,
  model TEXT NOT NULL,
  state TEXT NOT NULL,
  answer TEXT NOT NULL DEFAULT '',
  created INTEGER NOT NULL
) STRICT;
CREATE INDEX runs_by_session ON runs(session, id);
CREATE TABLE messages(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
  json TEXT NOT NULL
) STRICT;
CREATE INDEX messages_by_run ON messages(run, id);
CREATE TABLE summaries(
  session TEXT NOT NULL PRIMARY KEY REFERENCES sessions(id) ON DELETE CASCADE,
  last_message INTEGER NOT NULL,
  text TEXT NOT NULL
) STRICT;
CREATE TABLE steps(
  run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
  step INTEGER NOT NULL,
  turn INTEGER NOT NULL,
  call_id TEXT NOT NULL,
  tool TEXT NOT NULL,
  arguments TEXT NOT NULL,
  state TEXT NOT NULL,
  result TEXT,
  seconds REAL NOT NULL DEFAULT 0,
  UNIQUE(run, step)
) STRICT;
CREATE TABLE notes(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
  text TEXT NOT NULL,
  words TEXT NOT NULL,
  created INTEGER NOT NULL
) STRICT;
CREATE INDEX notes_by_session ON notes(session, id);
CREATE VIRTUAL TABLE notes_index USING fts5(
  words, content='notes', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
);
)";

constexpr const char* kMigrations[] = {kVersion1};

}  // namespace

// "OaSe" as four letters of ASCII.
const Database::Schema kSessionSchema{.application_id = 0x4F615365, .migrations = kMigrations};

}  // namespace autoglm::store
