CREATE TABLE notes (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  title text NOT NULL,
  priority bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT notes_title_once UNIQUE (tenant_id, title),
  CONSTRAINT notes_priority_known CHECK (priority <= 1000)
);
COMMENT ON TABLE notes IS 'tenant: what somebody wants to remember';
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes FORCE ROW LEVEL SECURITY;
CREATE POLICY notes_of_tenant ON notes
  USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))
  WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid));
GRANT SELECT, INSERT, DELETE ON notes TO sample_app;
