import { openFakeOpenWebUi } from '../support/fake-open-webui.ts'
import { openWebUiSuite } from './open-webui.ts'

openWebUiSuite('the fake Open WebUI', openFakeOpenWebUi)
