// A plugin that the tests start.
import { serve } from '../index.js';

serve({ name: 'fixture', steps: { only() {} } });
console.log('stdout is taken by then');
